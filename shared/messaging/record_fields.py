"""Parses the fields of a record, in Kafka's variable-length format."""

from functools import lru_cache
from typing import Final, NamedTuple, Self

from shared.contracts.envelope import Headers

MOST_BYTES: Final = 1024 * 1024
"""Maximum bytes of a record that is read."""
MOST_HEADERS: Final = 1_000
"""Maximum headers of a record that is read."""

_LONGEST_KEPT_KEY: Final = 1024
_LONGEST_SHARED: Final = 256
"""Maximum bytes of headers that are cached: most records of a producer have the same."""
_BITS: Final = 64

Fields = tuple[int, int, int, bytes | None, bytes | None, Headers]
"""End of the record, its timestamp and offset relative to the batch, key, value and headers."""


class BrokenError(Exception):
    """A record that is unreadable or too large.

    `end` is the start of the next record, None if unknown; `key` is the record's key, if it is known and short.
    """

    def __init__(self, error: str, end: int | None = None, key: bytes | None = None) -> None:
        super().__init__(error)
        self.error = error
        self.end = end
        self.key = key


def parse(data: bytes, start: int, stop: int) -> Fields:
    """Parse the record at `start`, which ends before `stop`.

    Raises:
        BrokenError: see there.
    """
    try:
        length, at = _varint(data, start)
        end = at + length
        if not at < end <= stop or length > MOST_BYTES:
            raise _explained(data, start, stop)
        milliseconds, at = _varint(data, at + 1)  # after the attributes, which are unused
        delta, at = _varint(data, at)
        size, at = _varint(data, at)
        key = value = None
        if size >= 0:
            key, at = _take(data, at, size, end)
        size, at = _varint(data, at)
        if size >= 0:
            value, at = _take(data, at, size, end)
        headers = _shared(data[at:end]) if end - at <= _LONGEST_SHARED else _headers(data[at:end])
    except (IndexError, ValueError):
        raise _explained(data, start, stop) from None
    return end, milliseconds, delta, key, value, headers


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The signed integer at an index, and the index after it."""
    byte = data[at]
    if byte < 0x80:
        return (byte >> 1) ^ -(byte & 1), at + 1
    second = data[at + 1]
    if second < 0x80:
        value = byte & 0x7F | second << 7
        return (value >> 1) ^ -(value & 1), at + 2
    value = shift = 0
    while byte >= 0x80:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if value >= 1 << _BITS or shift > _BITS + 6:
            raise ValueError("an integer of more than 64 bits")
    return (value >> 1) ^ -(value & 1), at


def _take(data: bytes, at: int, size: int, end: int) -> tuple[bytes, int]:
    """`size` bytes at an index, and the index after them."""
    behind = at + size
    if behind > end:
        raise IndexError
    return data[at:behind], behind


def _headers(data: bytes) -> Headers:
    """Parse headers, which are all of the bytes."""
    count, at = _varint(data, 0)
    end = len(data)
    if not 0 <= count <= MOST_HEADERS:
        raise ValueError("too many")
    headers: list[tuple[bytes, bytes | None]] = []
    for _ in range(count):
        size, at = _varint(data, at)
        if size < 0:
            raise ValueError("a header without a name")
        name, at = _take(data, at, size, end)
        size, at = _varint(data, at)
        content = None
        if size >= 0:
            content, at = _take(data, at, size, end)
        headers.append((name, content))
    if at != end:
        raise ValueError("bytes behind the headers")
    return tuple(headers)


_shared = lru_cache(maxsize=1024)(_headers)


def _explained(data: bytes, start: int, stop: int) -> BrokenError:
    """Why a record could not be parsed, and where the next one begins.

    If its fields and its length disagree, the next record is where one can begin. In a compressed batch brokers follow
    the fields, and accept any length.
    """
    try:
        length, at = _varint(data, start)
    except (IndexError, ValueError):
        return BrokenError("it ends where a record should be")
    claimed = at + length if at < at + length <= stop else None
    try:
        followed = _Followed.of(data, at, stop)
    except (IndexError, ValueError):
        return BrokenError(f"a record of {length:,} bytes has fields that do not fit into it", claimed)
    end, size = followed.end, followed.end - at
    if claimed is not None and not _can_begin(data, end, stop):
        end = claimed
    if followed.headers > MOST_HEADERS:
        error = f"it has {followed.headers:,} headers, more than {MOST_HEADERS:,}"
    elif size > MOST_BYTES:
        error = f"it has {size:,} bytes, more than {MOST_BYTES:,}"
    else:
        error = f"its length is {length:,}, its fields have {size:,} bytes"
    return BrokenError(error, end, followed.key)


def _can_begin(data: bytes, at: int, stop: int) -> bool:
    """Whether a record of any length can begin at an index, or the bytes end there."""
    if at == stop:
        return True
    try:
        _, begin = _varint(data, at)
        _Followed.of(data, begin, stop)
    except (IndexError, ValueError):
        return False
    return True


class _Followed(NamedTuple):
    """The fields of a record, followed without its length; the key only if it is short."""

    key: bytes | None
    headers: int
    end: int

    @classmethod
    def of(cls, data: bytes, at: int, stop: int) -> Self:
        """Follow the fields from an index on.

        Raises:
            IndexError, ValueError: they do not end within `stop`.
        """
        _, at = _varint(data, at + 1)
        _, at = _varint(data, at)
        size, at = _varint(data, at)
        key = data[at : at + size] if 0 <= size <= _LONGEST_KEPT_KEY else None
        at = _behind(at, size, stop)
        size, at = _varint(data, at)
        at = _behind(at, size, stop)
        count, at = _varint(data, at)
        if not 0 <= count <= stop - at:
            raise ValueError("more headers than bytes")
        for _ in range(count):
            size, at = _varint(data, at)
            if size < 0:
                raise ValueError("a header without a name")
            at = _behind(at, size, stop)
            size, at = _varint(data, at)
            at = _behind(at, size, stop)
        return cls(key, count, at)


def _behind(at: int, size: int, stop: int) -> int:
    """The index after `size` bytes."""
    behind = at + max(size, 0)
    if behind > stop:
        raise IndexError
    return behind
