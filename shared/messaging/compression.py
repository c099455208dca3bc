"""Decompression of batches up to a bound.

A few kilobytes can expand to gigabytes, and brokers limit only the compressed size. Nothing here produces more than
its bound, whatever the bytes claim.
"""

import struct
import zlib
from collections.abc import Callable
from typing import Final

import cramjam

_FIRST_GUESS: Final = 256 * 1024
_LIKELY_RATIO: Final = 16
"""JSON events seldom compress further, so one try is enough for nearly every batch."""
_GZIP: Final = 16 + zlib.MAX_WBITS
_GZIP_MAGIC: Final = b"\x1f\x8b"
_XERIAL: Final = b"\x82SNAPPY\x00"
"""The start of a stream of Java's snappy library, whose blocks follow their lengths."""
_XERIAL_HEADER: Final = 16
_INT32: Final = struct.Struct(">i")
_IS_FULL: Final = "failed to write whole buffer"
"""cramjam's message when the output does not fit."""


class CorruptError(Exception):
    """The bytes are not in the format of their codec."""


class _FullError(Exception):
    """The content is larger than the bound; `content` is its beginning."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.content = content


def expand(codec: int, content: bytes, most: int) -> tuple[bytes, bool]:
    """Decompress a batch of a Kafka codec number; returns the content, and whether it is complete.

    Content of more than `most` bytes is cut: as many of its first bytes as the codec can give.

    Raises:
        CorruptError: the codec is unknown, or cannot read the bytes.
    """
    reader = _READERS.get(codec)
    if reader is None:
        raise CorruptError(f"unknown codec {codec}")
    try:
        return reader(content, most), True
    except _FullError as full:
        return full.content, False
    except (cramjam.DecompressionError, zlib.error, struct.error) as error:
        raise CorruptError(str(error)) from error


def _gzip(content: bytes, most: int) -> bytes:
    """All members of a gzip file; other bytes after them are ignored, as by Java's reader."""
    parts: list[bytes] = []
    left = most
    while not parts or content.startswith(_GZIP_MAGIC):
        member = zlib.decompressobj(_GZIP)
        parts.append(member.decompress(content, left + 1))
        left -= len(parts[-1])
        if left < 0:
            raise _FullError(b"".join(parts)[:most])
        if not member.eof:
            raise CorruptError("the gzip file ends in its middle")
        content = member.unused_data
    return b"".join(parts)


def _into(decompress: Callable[[bytes, bytearray], int]) -> Callable[[bytes, int], bytes]:
    """A reader on a function that fills a buffer, which grows when it is too small."""

    def read(content: bytes, most: int) -> bytes:
        size = min(most, max(_FIRST_GUESS, _LIKELY_RATIO * len(content)))
        while True:
            buffer = bytearray(size)
            try:
                length = decompress(content, buffer)
            except cramjam.DecompressionError as error:
                if _IS_FULL not in str(error):
                    raise
                if size == most:
                    raise _FullError(bytes(buffer)) from None
                size = min(most, 4 * size)
            else:
                return bytes(memoryview(buffer)[:length])

    return read


def _snappy(content: bytes, most: int) -> bytes:
    if not content.startswith(_XERIAL):
        return _snappy_block(content, most)
    parts: list[bytes] = []
    place, left = _XERIAL_HEADER, most
    while place < len(content):
        (length,) = _INT32.unpack_from(content, place)
        place += _INT32.size
        if not 0 <= length <= len(content) - place:
            raise CorruptError("the snappy stream ends in the middle of a block")
        try:
            parts.append(_snappy_block(content[place : place + length], left))
        except _FullError:
            raise _FullError(b"".join(parts)) from None
        left -= len(parts[-1])
        place += length
    return b"".join(parts)


def _snappy_block(content: bytes, most: int) -> bytes:
    size = cramjam.snappy.decompress_raw_len(content)
    if size > most:
        raise _FullError(b"")
    buffer = bytearray(size)
    return bytes(memoryview(buffer)[: cramjam.snappy.decompress_raw_into(content, buffer)])


_READERS: Final[dict[int, Callable[[bytes, int], bytes]]] = {
    1: _gzip,
    2: _snappy,
    3: _into(cramjam.lz4.decompress_into),
    4: _into(cramjam.zstd.decompress_into),
}
