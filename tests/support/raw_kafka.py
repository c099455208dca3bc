"""Writes record batches byte by byte, and sends any bytes to a broker.

Ordinary clients refuse to write a header name that is not UTF-8, a wrong length or a control batch. Here every field
has a correct default, and an argument that overrides it.
"""

import asyncio
import gzip
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Self

import cramjam
from aiokafka.record.util import calc_crc32c

NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)
LOG_APPEND_TIME, TRANSACTIONAL, CONTROL = 0x08, 0x10, 0x20

Header = tuple[bytes, bytes | None]


def varint(value: int) -> bytes:
    """A signed integer of up to 64 bits in Kafka's variable-length encoding."""
    left = ((value << 1) ^ (value >> 63)) & 0xFFFF_FFFF_FFFF_FFFF
    encoded = bytearray()
    while left > 0x7F:
        encoded.append(0x80 | (left & 0x7F))
        left >>= 7
    encoded.append(left)
    return bytes(encoded)


def sized(content: bytes | None) -> bytes:
    """Bytes prefixed with their length; None has the length -1."""
    return varint(-1) if content is None else varint(len(content)) + content


def headers(named: Sequence[Header]) -> bytes:
    """The headers of a record."""
    return varint(len(named)) + b"".join(sized(name) + sized(content) for name, content in named)


def body(
    key: bytes | None, value: bytes | None, named: Sequence[Header] = (), *, delta: int = 0, milliseconds: int = 0
) -> bytes:
    """A record without its length; `delta` is its offset within its batch."""
    return b"\x00" + varint(milliseconds) + varint(delta) + sized(key) + sized(value) + headers(named)


def record(
    key: bytes | None, value: bytes | None, named: Sequence[Header] = (), *, delta: int = 0, milliseconds: int = 0
) -> bytes:
    """A record."""
    return sized(body(key, value, named, delta=delta, milliseconds=milliseconds))


def _lz4(content: bytes) -> bytes:
    # Brokers read frames of independent blocks only.
    compressor = cramjam.lz4.Compressor(level=1, content_checksum=False, block_linked=False)
    compressor.compress(content)
    return bytes(compressor.finish())


COMPRESS = {
    NONE: bytes,
    GZIP: lambda content: gzip.compress(content, 6),
    SNAPPY: lambda content: bytes(cramjam.snappy.compress_raw(content)),
    LZ4: _lz4,
    ZSTD: lambda content: bytes(cramjam.zstd.compress(content)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The header fields of a batch; None stands for the correct value."""

    base_offset: int = 0
    length: int | None = None
    magic: int = 2
    crc: int | None = None
    codec: int = NONE
    attributes: int = 0
    last_delta: int | None = None
    first_timestamp: int = 1_780_000_000_000
    max_timestamp: int = 1_780_000_000_000
    producer_id: int = -1
    producer_epoch: int = -1
    sequence: int = -1
    count: int | None = None

    def of(self, records: Iterable[bytes]) -> bytes:
        """The batch of these records (see `record`)."""
        held = list(records)
        compress = COMPRESS.get(self.codec, bytes)
        return self.around(compress(b"".join(held)), len(held))

    def around(self, payload: bytes, count: int) -> bytes:
        """A batch with the given bytes as its records, compressed or not, and a record count."""
        last = count - 1 if self.last_delta is None else self.last_delta
        checked = struct.pack(
            ">hiqqqhii",
            self.codec | self.attributes,
            last,
            self.first_timestamp,
            self.max_timestamp,
            self.producer_id,
            self.producer_epoch,
            self.sequence,
            count if self.count is None else self.count,
        )
        checked += payload
        crc = calc_crc32c(checked) if self.crc is None else self.crc
        length = len(checked) + 9 if self.length is None else self.length
        return struct.pack(">qiibI", self.base_offset, length, -1, self.magic, crc) + checked


class Refused(IntEnum):
    """Error codes of a broker that refuses a batch."""

    NONE = 0
    CORRUPT_MESSAGE = 2
    MESSAGE_TOO_LARGE = 10
    INVALID_TIMESTAMP = 32
    UNSUPPORTED_FOR_MESSAGE_FORMAT = 43
    INVALID_PRODUCER_EPOCH = 47
    INVALID_TXN_STATE = 48
    UNSUPPORTED_COMPRESSION_TYPE = 76
    INVALID_RECORD = 87


@dataclass(frozen=True, slots=True)
class Answer:
    """The broker's answer to a batch: an error code (0: written) and message, or the first offset."""

    error: int
    offset: int
    words: str = ""


_PRODUCE, _VERSION = 0, 8


class RawProducer:
    """Sends Produce requests over a connection of its own, one after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._sent = 0

    @classmethod
    async def connect(cls, bootstrap: str) -> Self:
        """Connect to a broker that leads every partition to write to."""
        host, _, port = bootstrap.rpartition(":")
        return cls(*await asyncio.open_connection(host, int(port)))

    async def produce(self, topic: str, partition: int, batch: bytes) -> Answer:
        """Write a batch, or any bytes, and wait until every replica has it.

        Raises:
            asyncio.IncompleteReadError: the broker closed the connection instead of an answer.
        """
        self._sent += 1
        name = topic.encode()
        request = struct.pack(">hhih", _PRODUCE, _VERSION, self._sent, 4) + b"fuzz"
        request += struct.pack(">hhii", -1, -1, 30_000, 1)
        request += struct.pack(">h", len(name)) + name + struct.pack(">iii", 1, partition, len(batch)) + batch
        self._writer.write(struct.pack(">i", len(request)) + request)
        await self._writer.drain()
        (length,) = struct.unpack(">i", await self._reader.readexactly(4))
        return _answer(await self._reader.readexactly(length), len(name))

    async def close(self) -> None:
        """Close the connection."""
        self._writer.close()
        await self._writer.wait_closed()


def _answer(content: bytes, name_length: int) -> Answer:
    """The answer for the only partition of a response of this version."""
    place = 4 + 4 + 2 + name_length + 4 + 4  # correlation id, topics, name, partitions, number
    error, offset, _, _, errors = struct.unpack_from(">hqqqi", content, place)
    place += struct.calcsize(">hqqqi")
    words: list[str] = []
    for _ in range(errors):
        place += 4
        place, text = _text(content, place)
        words.append(text)
    _, text = _text(content, place)
    return Answer(error, offset, "; ".join(item for item in (text, *words) if item))


def _text(content: bytes, place: int) -> tuple[int, str]:
    (length,) = struct.unpack_from(">h", content, place)
    end = place + 2 + max(length, 0)
    return end, content[place + 2 : end].decode()
