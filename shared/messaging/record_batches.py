"""Reads Kafka's record batches record by record, whatever bytes they contain.

Brokers check little: header names, a record's offset in its batch, the size of a compressed batch's content and the
length of a record in it are the producer's word alone. An unreadable record becomes an `Unreadable`; the records
beside it are still read.
"""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec
from aiokafka.record.util import calc_crc32c

from shared.contracts.envelope import Record, from_milliseconds
from shared.messaging.compression import CorruptError, expand
from shared.messaging.record_fields import BrokenError, parse

MOST_EXPANDED: Final = 32 * 1024 * 1024
"""Maximum bytes of a decompressed batch; records that end after them are not read."""
MOST_RECORDS: Final = 100_000
"""Maximum records of a batch; those after them are not read."""
MOST_KEPT: Final = 1024 * 1024
"""Maximum bytes that are kept of unreadable records."""

_HEAD: Final = struct.Struct(">qiibIhiqqqhii")
_FRAME: Final = struct.Struct(">qiib")
_UNCOUNTED: Final = 12
"""The first bytes of a batch, which its length does not include."""
_UNCHECKED: Final = 21
"""The first bytes of a batch, which its checksum does not cover."""
_MAGIC: Final = 2
_CODEC: Final = 0x07
_APPEND_TIME: Final = 0x08
_TRANSACTIONAL: Final = 0x10
_CONTROL: Final = 0x20
_ABORT: Final = b"\x00\x00"
"""The type of a control record that aborts a transaction: the third and fourth byte of its key."""


class Unreadable(msgspec.Struct, frozen=True, gc=False):
    """A record, or the rest of a batch, that is unreadable or too large.

    The value of `record` holds its bytes in the log, at most `MOST_KEPT`; its offset is the first of the unreadable
    ones, and `end` follows the last.
    """

    record: Record
    error: str
    end: int


Fetched = Record | Unreadable
"""A record of a fetch, readable or not."""


class Place(NamedTuple):
    """A partition of a topic."""

    topic: str
    partition: int


class Batch(msgspec.Struct, frozen=True, gc=False):
    """A batch in the bytes `data` from `start` to `stop`, with the fields of its header, which may be wrong."""

    data: bytes
    start: int
    stop: int
    base_offset: int
    magic: int
    crc: int = 0
    attributes: int = 0
    last_delta: int = 0
    first_timestamp: int = 0
    max_timestamp: int = 0
    producer_id: int = -1
    count: int = 1

    @property
    def end(self) -> int:
        """The offset after its last record."""
        return self.base_offset + self.last_delta + 1

    @property
    def is_transactional(self) -> bool:
        """Whether it belongs to a transaction."""
        return bool(self.attributes & _TRANSACTIONAL)

    @property
    def is_control(self) -> bool:
        """Whether it marks the end of a transaction, and has no records of a producer."""
        return bool(self.attributes & _CONTROL)

    @property
    def is_dense(self) -> bool:
        """Whether it has a record for each of its offsets, as all batches before compaction."""
        return 0 < self.count == self.last_delta + 1

    @property
    def timestamp(self) -> int:
        """Milliseconds since 1970: of all records if the broker set the timestamp, else of the first."""
        return self.max_timestamp if self.attributes & _APPEND_TIME else self.first_timestamp

    def fault(self) -> str | None:
        """Why nothing in it can be trusted, or None."""
        if self.magic != _MAGIC:
            return f"its format has the number {self.magic}, only {_MAGIC} is read"
        if calc_crc32c(self.data[self.start + _UNCHECKED : self.stop]) != self.crc:
            return "its checksum is wrong"
        if self.last_delta < 0 or self.count < 0:
            return "it says that it has fewer than no records"
        return None


def next_batch(data: bytes, start: int) -> Batch | None:
    """The batch at `start`; None where it is incomplete, or its length is impossible."""
    if len(data) - start < _FRAME.size:
        return None
    base_offset, length, _, magic = _FRAME.unpack_from(data, start)
    stop = start + _UNCOUNTED + length
    least = _HEAD.size if magic == _MAGIC else _FRAME.size
    if not start + least <= stop <= len(data):
        return None
    if magic != _MAGIC:
        return Batch(data, start, stop, base_offset, magic)
    _, _, _, _, crc, attributes, last_delta, first, latest, producer_id, _, _, count = _HEAD.unpack_from(data, start)
    return Batch(data, start, stop, base_offset, magic, crc, attributes, last_delta, first, latest, producer_id, count)


class Contents(NamedTuple):
    """The bytes of a batch's records, from `start` to `stop`; `shortage` says why they are incomplete."""

    data: bytes
    start: int
    stop: int
    shortage: str | None = None


def contents(batch: Batch) -> Contents:
    """The content of a batch, decompressed up to the limit."""
    start = batch.start + _HEAD.size
    codec = batch.attributes & _CODEC
    if not codec:
        return Contents(batch.data, start, batch.stop)
    try:
        content, is_all = expand(codec, batch.data[start : batch.stop], MOST_EXPANDED)
    except CorruptError as error:
        return Contents(b"", 0, 0, f"it is not compressed as it says: {error}")
    shortage = None if is_all else f"decompressed it has more than {MOST_EXPANDED:,} bytes"
    return Contents(content, 0, len(content), shortage)


def is_abort(batch: Batch) -> bool:
    """Whether a control batch aborts its transaction."""
    for record, _ in read(batch, contents(batch), Place("", 0), batch.base_offset):
        return isinstance(record, Record) and record.key is not None and record.key[2:4] == _ABORT
    return False


def read(batch: Batch, content: Contents, place: Place, position: int) -> Iterator[tuple[Fetched, int]]:
    """Yield the records of a faultless batch from the offset `position` on, in order, with their sizes.

    A record's offset follows from its number in the batch, as the broker counts, whatever the record says; only in a
    compacted batch the record's own field is used.
    """
    topic, partition = place
    data, at, stop, shortage = content
    is_dense, is_stamped = batch.is_dense, bool(batch.attributes & _APPEND_TIME)
    offset, timestamp = batch.base_offset - 1, batch.timestamp
    try:
        for _ in range(min(batch.count, MOST_RECORDS)):
            start = at
            offset += 1
            try:
                at, milliseconds, delta, key, value, headers = parse(data, start, stop)
            except BrokenError as broken:
                if broken.end is None or not is_dense:
                    raise
                at = broken.end
                if offset >= position:
                    yield _unreadable(batch, (topic, partition, offset), data[start:at], broken), at - start
                continue
            if not is_dense:
                offset = _of_compacted(batch, offset, delta)
            if offset >= position:
                moment = from_milliseconds(timestamp if is_stamped else timestamp + milliseconds)
                yield Record(topic, partition, offset, key, value, headers, moment), at - start
        offset += batch.count > MOST_RECORDS
        _check_all_is_read(batch, stop - at, shortage)
    except BrokenError as broken:
        offset = max(offset, position, batch.base_offset)
        yield rest(batch, place, offset, shortage or broken.error), batch.stop - batch.start


def rest(batch: Batch, place: Place, offset: int, error: str) -> Unreadable:
    """The rest of a batch from an offset on, as unreadable."""
    raw = batch.data[batch.start : batch.stop]
    which = f"offset {offset}" if batch.end <= offset + 1 else f"offsets {offset} to {batch.end - 1}"
    message = f"the batch cannot be read ({which}): {error}; {_kept(raw)} the batch"
    record = Record(*place, offset, None, raw[:MOST_KEPT], (), from_milliseconds(batch.timestamp))
    return Unreadable(record, message, max(batch.end, offset + 1))


def _unreadable(batch: Batch, where: tuple[str, int, int], raw: bytes, broken: BrokenError) -> Unreadable:
    """A record, as unreadable."""
    message = f"the record cannot be read: {broken.error}; {_kept(raw)} it"
    record = Record(*where, broken.key, raw[:MOST_KEPT], (), from_milliseconds(batch.timestamp))
    return Unreadable(record, message, where[2] + 1)


def _kept(raw: bytes) -> str:
    kept = f"the first {MOST_KEPT:,} of {len(raw):,} bytes" if len(raw) > MOST_KEPT else f"all {len(raw):,} bytes"
    return f"kept are {kept} of"


def _of_compacted(batch: Batch, least: int, delta: int) -> int:
    """The offset of a record of a compacted batch, which has to be at least `least`."""
    if not least <= batch.base_offset + delta < batch.end:
        raise BrokenError(f"the offset {batch.base_offset + delta} of a record is not between its neighbors'")
    return batch.base_offset + delta


def _check_all_is_read(batch: Batch, left: int, shortage: str | None) -> None:
    if batch.count > MOST_RECORDS:
        raise BrokenError(f"it has {batch.count:,} records, more than {MOST_RECORDS:,}")
    if left or shortage:
        raise BrokenError(f"{left:,} bytes come after its last record")
