"""The fields of one record of a batch, in Kafka's format of variable lengths."""

from functools import lru_cache
from typing import Final, NamedTuple, Self

from shared.contracts.envelope import Headers

MOST_BYTES: Final = 1024 * 1024
"""A record of more is not read."""
MOST_HEADERS: Final = 1_000
"""A record with more is not read."""

_LONGEST_KEPT_KEY: Final = 1024
_LONGEST_SHARED: Final = 256
"""Bytes of headers up to which it pays to remember what they are: most records of a producer have the same."""
_BITS: Final = 64

Fields = tuple[int, int, int, bytes | None, bytes | None, Headers]
"""Where the record ends, what its timestamp and its offset add to those of its batch, its key, value and headers."""


class BrokenError(Exception):
    """A record that cannot be read or is too large.

    `end` is where the next one begins, or None where nobody knows; `key` is the record's, where it is known and short.
    """

    def __init__(self, error: str, end: int | None = None, key: bytes | None = None) -> None:
        super().__init__(error)
        self.error = error
        self.end = end
        self.key = key


def parse(data: bytes, start: int, stop: int) -> Fields:
    """The record that begins at `start`, within the bytes up to `stop`.

    Raises:
        BrokenError: see there.
    """
    try:
        length, at = _varint(data, start)
        end = at + length
        if not at < end <= stop or length > MOST_BYTES:
            raise _explained(data, start, stop)
        milliseconds, at = _varint(data, at + 1)  # behind the attributes, which have no meaning yet
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
    """The signed integer at a place, and the place behind it."""
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
    """So many bytes from a place on, and the place behind them."""
    behind = at + size
    if behind > end:
        raise IndexError
    return data[at:behind], behind


def _headers(data: bytes) -> Headers:
    """The headers that are all of these bytes."""
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
    """What is wrong with a record that could not be parsed, and where the next one begins.

    Where its fields and its length do not agree on that, it is where another record can be. In a compressed batch a
    broker follows the fields, and takes any lengths.
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
    """Whether there are the fields of a record at a place, whatever its length, or the end of all."""
    if at == stop:
        return True
    try:
        _, begin = _varint(data, at)
        _Followed.of(data, begin, stop)
    except (IndexError, ValueError):
        return False
    return True


class _Followed(NamedTuple):
    """What a record's fields are, followed one by one from behind its length: a key only where it is short."""

    key: bytes | None
    headers: int
    end: int

    @classmethod
    def of(cls, data: bytes, at: int, stop: int) -> Self:
        """The fields that begin at a place.

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
    """The place behind so many bytes."""
    behind = at + max(size, 0)
    if behind > stop:
        raise IndexError
    return behind
