"""Batches are read record by record, whatever bytes they have: a bad record does not affect good ones beside it."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.envelope import Record, from_milliseconds
from shared.messaging import record_batches
from shared.messaging.record_batches import Place, Unreadable, contents, is_abort, next_batch, read
from shared.messaging.record_fields import MOST_BYTES, MOST_HEADERS
from tests.support import raw_kafka as raw
from tests.support.depth import examples
from tests.support.raw_kafka import Batch, body, record, sized, varint

PLACE = Place("shop.purchases", 3)
CODECS = st.sampled_from([raw.NONE, raw.GZIP, raw.SNAPPY, raw.LZ4, raw.ZSTD])


def read_batch(content: bytes, position: int = 0) -> list[Record | Unreadable]:
    """The items that are read from a single batch."""
    batch = next_batch(content, 0)
    assert batch is not None
    assert batch.stop == len(content)
    assert batch.fault() is None
    return [item for item, _ in read(batch, contents(batch), PLACE, position)]


def values(fetched: Sequence[Record | Unreadable]) -> list[bytes | None]:
    """The values of records, and None for unreadable items."""
    return [item.value if isinstance(item, Record) else None for item in fetched]


@dataclass(frozen=True)
class Sent:
    """A record as a producer intends it."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[bytes, bytes | None], ...]
    milliseconds: int

    def encoded(self, delta: int) -> bytes:
        return record(self.key, self.value, self.headers, delta=delta, milliseconds=self.milliseconds)


_BYTES = st.none() | st.binary(max_size=200)
_HEADERS = st.lists(st.tuples(st.binary(max_size=12), _BYTES), max_size=6).map(tuple)
_SENT = st.lists(st.builds(Sent, _BYTES, _BYTES, _HEADERS, st.integers(-(2**62), 2**62)), min_size=1, max_size=12)


@given(sent=_SENT, codec=CODECS, base=st.integers(0, 2**60), stamped=st.booleans(), skipped=st.integers(0, 12))
def test_written_records_are_read(sent: list[Sent], codec: int, base: int, stamped: bool, skipped: int):
    attributes = raw.LOG_APPEND_TIME if stamped else 0
    layout = Batch(base_offset=base, codec=codec, attributes=attributes, first_timestamp=7, max_timestamp=9)
    fetched = read_batch(layout.of([item.encoded(number) for number, item in enumerate(sent)]), base + skipped)
    expected = [
        Record(
            *PLACE,
            base + number,
            item.key,
            item.value,
            item.headers,
            from_milliseconds(9 if stamped else 7 + item.milliseconds),
        )
        for number, item in enumerate(sent)
    ]
    assert fetched == expected[skipped:]


@given(value=st.integers(-(2**63), 2**63 - 1))
def test_numbers_of_all_lengths(value: int):
    encoded = Batch(first_timestamp=0).of(
        [sized(b"\x00" + varint(value) + varint(value) + sized(b"k") + sized(b"v") + varint(0))]
    )
    assert read_batch(encoded) == [Record(*PLACE, 0, b"k", b"v", (), from_milliseconds(value))]


@pytest.mark.parametrize("deltas", [(0, 0, 0), (0, 77, 1), (-5, -4, -3), (2, 1, 0), (2**31 - 1, 0, -(2**31))])
def test_offsets_are_counted_as_the_broker_does_whatever_the_records_say(deltas: tuple[int, ...]):
    """A broker accepts any offsets within a batch: neither the second of two equal ones nor later ones are skipped."""
    encoded = Batch(base_offset=50).of(
        [record(b"k", b"v%d" % number, delta=delta) for number, delta in enumerate(deltas)]
    )
    fetched = read_batch(encoded, 50)
    assert [(item.offset, item.value) for item in fetched if isinstance(item, Record)] == [
        (50, b"v0"),
        (51, b"v1"),
        (52, b"v2"),
    ]
    assert values(read_batch(encoded, 52)) == [b"v2"]


def test_a_compacted_batch_has_gaps():
    encoded = Batch(base_offset=10, last_delta=9, count=2).of(
        [record(b"k", b"a", delta=3), record(b"k", b"b", delta=7)]
    )
    assert [(item.offset, item.value) for item in read_batch(encoded) if isinstance(item, Record)] == [
        (13, b"a"),
        (17, b"b"),
    ]
    assert values(read_batch(encoded, 14)) == [b"b"]


@pytest.mark.parametrize("delta", [3, 2, 10, -1])
def test_a_compacted_batch_out_of_order_is_unreadable(delta: int):
    encoded = Batch(last_delta=9, count=2).of([record(b"k", b"a", delta=3), record(b"k", b"b", delta=delta)])
    first, last = read_batch(encoded)
    assert isinstance(first, Record)
    assert isinstance(last, Unreadable)
    assert (last.record.offset, last.end) == (4, 10)


GOOD = record(b"k", b"good")
BROKEN: dict[str, bytes] = {
    "a key of a gigabyte": sized(b"\0\0\0" + varint(2**30) + b"k" * 10),
    "a value of a gigabyte": sized(b"\0\0\0" + sized(b"k") + varint(2**30) + b"v"),
    "a value that ends one byte too late": sized(b"\0\0\0" + sized(b"k") + varint(2) + b"v"),
    "a million headers that are not there": sized(b"\0\0\0" + sized(b"k") + sized(b"v") + varint(10**6)),
    "fewer headers than none": sized(b"\0\0\0" + sized(b"k") + sized(b"v") + varint(-1)),
    "a header without a name": sized(b"\0\0\0" + sized(b"k") + sized(b"v") + varint(1) + varint(-1) + sized(b"x")),
    "a name longer than the record": sized(b"\0\0\0" + sized(b"k") + sized(b"v") + varint(1) + varint(99) + b"ab"),
    "a number without an end": sized(b"\0\0\0" + b"\xff" * 20),
    "nothing but its attributes": sized(b"\0"),
    "too many headers": record(b"k", b"v", [(b"", None)] * (MOST_HEADERS + 1)),
    "too large": record(b"k", bytes(MOST_BYTES)),
    "too many headers, and a length that is too large": varint(1 << 20)
    + body(b"k", b"v", [(b"", None)] * (MOST_HEADERS + 1)),
    "too many headers, and a length that is a byte too large": varint(2 * MOST_HEADERS + 13)
    + body(b"k", b"v", [(b"", None)] * (MOST_HEADERS + 1)),
    "a length that is too small": varint(4) + body(b"k", b"v"),
    "a length that is too large": varint(99) + body(b"k", b"v"),
    "a length far beyond all": varint(2**31 - 1) + body(b"k", b"v"),
    "a length below nothing": varint(-3) + body(b"k", b"v"),
}


@pytest.mark.parametrize("codec", [raw.NONE, raw.ZSTD])
@pytest.mark.parametrize("name", BROKEN)
def test_records_beside_a_broken_one_are_read(name: str, codec: int):
    fetched = read_batch(Batch(base_offset=5, codec=codec).of([GOOD, BROKEN[name], GOOD, BROKEN[name], GOOD]))
    assert values(fetched) == [b"good", None, b"good", None, b"good"]
    broken = fetched[1]
    assert isinstance(broken, Unreadable)
    assert (broken.record.offset, broken.end) == (6, 7)
    assert broken.record.value == BROKEN[name][: record_batches.MOST_KEPT]
    assert broken.error.startswith("the record cannot be read: ")


def test_the_start_of_the_next_record_may_be_unknown():
    """Then the rest of the batch is one unreadable item, with the bytes of the batch."""
    encoded = Batch(base_offset=5).of([GOOD, varint(-3) + b"\xff" * 12, GOOD, GOOD])
    first, rest = read_batch(encoded)
    assert isinstance(first, Record)
    assert isinstance(rest, Unreadable)
    assert (rest.record.offset, rest.end, rest.record.value) == (6, 9, encoded)
    assert read_batch(encoded, 8) == [
        Unreadable(
            Record(*PLACE, 8, None, encoded, (), rest.record.timestamp),
            rest.error.replace("offsets 6 to 8", "offset 8"),
            9,
        )
    ]


def test_a_batch_with_fewer_records_than_its_count():
    _, rest = read_batch(Batch(count=5, last_delta=4).of([GOOD]))
    assert isinstance(rest, Unreadable)
    assert (rest.record.offset, rest.end) == (1, 5)
    assert "it ends where a record should be" in rest.error


def test_a_batch_with_bytes_after_its_last_record():
    first, rest = read_batch(Batch(count=1, last_delta=0).of([GOOD, GOOD]))
    assert isinstance(first, Record)
    assert isinstance(rest, Unreadable)
    assert (rest.record.offset, rest.end) == (0, 1)
    assert "come after its last record" in rest.error


@pytest.mark.parametrize("codec", [raw.GZIP, raw.SNAPPY, raw.LZ4, raw.ZSTD, 5, 7])
def test_wrongly_compressed_content_is_one_unreadable_item(codec: int):
    encoded = Batch(base_offset=5, codec=codec).around(b"\x00garbage" * 5, 3)
    (rest,) = read_batch(encoded)
    assert isinstance(rest, Unreadable)
    assert (rest.record.offset, rest.end, rest.record.value) == (5, 8, encoded)
    assert "compressed" in rest.error


@pytest.mark.parametrize("codec", [raw.GZIP, raw.LZ4, raw.ZSTD])
def test_an_expanding_batch_is_read_up_to_the_bound(monkeypatch: pytest.MonkeyPatch, codec: int):
    monkeypatch.setattr(record_batches, "MOST_EXPANDED", 1 << 20)
    records = [record(b"k", b"\0" * 100_000, delta=number) for number in range(40)]
    *readable, rest = read_batch(Batch(codec=codec).of(records))
    assert [item.offset for item in readable if isinstance(item, Record)] == list(range(10))
    assert isinstance(rest, Unreadable)
    assert (rest.record.offset, rest.end) == (10, 40)
    assert "decompressed it has more than 1,048,576 bytes" in rest.error


def test_a_batch_of_very_many_records_is_read_up_to_a_bound(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(record_batches, "MOST_RECORDS", 30)
    *readable, rest = read_batch(Batch().of([GOOD] * 100))
    assert values(readable) == [b"good"] * 30
    assert isinstance(rest, Unreadable)
    assert (rest.record.offset, rest.end) == (30, 100)


@pytest.mark.parametrize(
    "batch, fault",
    [
        (Batch(crc=1), "its checksum is wrong"),
        (Batch(magic=1), "its format has the number 1, only 2 is read"),
        (Batch(magic=3), "its format has the number 3, only 2 is read"),
        (Batch(last_delta=-2), "it says that it has fewer than no records"),
        (Batch(count=-2), "it says that it has fewer than no records"),
    ],
)
def test_batches_with_faulty_headers_are_unreadable(batch: Batch, fault: str):
    fetched = next_batch(batch.of([GOOD]), 0)
    assert fetched is not None
    assert fetched.fault() == fault


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes(11),
        bytes(60),
        Batch().of([GOOD])[:-1],
        Batch(length=2**31 - 1).of([GOOD]),
        Batch(length=-1).of([GOOD]),
        Batch(length=20).of([GOOD]),
    ],
)
def test_incomplete_batches_are_none(content: bytes):
    assert next_batch(content, 0) is None


@pytest.mark.parametrize(
    "key, is_one", [(b"\0\0\0\0", True), (b"\0\0\0\1", False), (b"", False), (b"\0", False), (None, False)]
)
def test_the_end_of_a_transaction(key: bytes | None, is_one: bool):
    fetched = next_batch(Batch(attributes=raw.CONTROL | raw.TRANSACTIONAL).of([record(key, b"")]), 0)
    assert fetched is not None
    assert fetched.is_control
    assert is_abort(fetched) is is_one


@given(sent=_SENT, codec=CODECS, lies=st.lists(st.sampled_from([0, 0, 0, 1, -1, 64, 900, 2**30]), min_size=12))
def test_records_with_wrong_lengths_do_not_affect_others(sent: list[Sent], codec: int, lies: list[int]):
    """A broker accepts any lengths in a compressed batch, and follows the fields."""
    records: list[bytes] = []
    for number, (entry, lie) in enumerate(zip(sent, lies, strict=False)):
        inner = body(entry.key, entry.value, entry.headers, delta=number)
        records.append(varint(len(inner) + lie) + inner)
    fetched = read_batch(Batch(codec=codec).of(records))
    assert [isinstance(item, Record) for item in fetched] == [not lie for _, lie in zip(sent, lies, strict=False)]
    read_ones = [(item.offset, item.value) for item in fetched if isinstance(item, Record)]
    assert read_ones == [(number, item.value) for number, item in enumerate(sent) if not lies[number]]


# A slow, independent reader, which follows the description of the format byte by byte.


class _Bytes:
    def __init__(self, content: bytes) -> None:
        self.left = list(content)

    def take(self, count: int) -> bytes:
        if not 0 <= count <= len(self.left):
            raise EOFError
        taken, self.left = self.left[:count], self.left[count:]
        return bytes(taken)

    def number(self) -> int:
        groups: list[int] = []
        while True:
            (byte,) = self.take(1)
            groups.append(byte & 0x7F)
            if byte < 0x80:
                break
            if len(groups) == 10:
                raise EOFError
        unsigned = sum(group << (7 * place) for place, group in enumerate(groups))
        if unsigned >= 2**64:
            raise EOFError
        return unsigned // 2 if unsigned % 2 == 0 else -(unsigned // 2) - 1

    def sized(self) -> bytes | None:
        size = self.number()
        return None if size < 0 else self.take(size)


def slowly(content: bytes) -> tuple[Any, ...] | None:
    """Key, value, headers and milliseconds of a record that consists of exactly these bytes, or None."""
    try:
        outer = _Bytes(content)
        size = outer.number()
        inner = _Bytes(outer.take(size))
        inner.take(1)
        milliseconds, _ = inner.number(), inner.number()
        key, value = inner.sized(), inner.sized()
        count = inner.number()
        if outer.left or not 0 <= count <= MOST_HEADERS:
            return None
        headers: list[tuple[bytes, bytes | None]] = []
        for _ in range(count):
            name = inner.sized()
            if name is None:
                return None
            headers.append((name, inner.sized()))
        return None if inner.left else (key, value, tuple(headers), milliseconds)
    except EOFError:
        return None


@st.composite
def _odd_records(draw: st.DrawFn) -> bytes:
    """A record, possibly with changed bytes, or random bytes."""
    whole = bytearray(draw(st.builds(Sent, _BYTES, _BYTES, _HEADERS, st.integers(-5, 5))).encoded(0))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(whole) - 1))
        whole[place] = draw(st.integers(0, 255))
    return bytes(whole) if draw(st.booleans()) else draw(st.binary(min_size=1, max_size=30))


@given(odd=_odd_records())
@examples(150, deep=1000)
def test_a_slow_reader_reads_the_same_fields(odd: bytes):
    fetched, *more = read_batch(Batch(first_timestamp=0).of([odd]))
    expected = slowly(odd)
    if expected is None:
        assert isinstance(fetched, Unreadable)
    elif not more:
        *fields, milliseconds = expected
        assert fetched == Record(*PLACE, 0, *fields, from_milliseconds(milliseconds))


@given(
    odd=st.lists(_odd_records(), max_size=5),
    codec=CODECS,
    count=st.none() | st.integers(0, 9),
    position=st.integers(0, 9),
)
@examples(100, deep=600)
def test_every_offset_is_accounted_for_once(odd: list[bytes], codec: int, count: int | None, position: int):
    payload = b"".join([GOOD, *odd])
    encoded = Batch(codec=codec, last_delta=None if count is None else count - 1).around(
        raw.COMPRESS[codec](payload), 1 + len(odd) if count is None else count
    )
    batch = next_batch(encoded, 0)
    assert batch is not None
    if batch.fault():
        return
    following = position
    for fetched, size in read(batch, contents(batch), PLACE, position):
        first = fetched.offset if isinstance(fetched, Record) else fetched.record.offset
        assert first == following or (first, fetched.end) == (following - 1, following)  # type: ignore[union-attr]
        assert size > 0
        following = fetched.end if isinstance(fetched, Unreadable) else first + 1
    assert following == max(position, batch.end) or position >= batch.end


@given(st.binary(max_size=300))
def test_any_bytes_are_a_batch_or_none(content: bytes):
    batch = next_batch(content, 0)
    assert batch is None or batch.stop <= len(content)
    head = struct.pack(">qiib", 0, len(content) + 5, -1, 2)
    batch = next_batch(head + content, 0)
    assert (batch is None) == (len(content) < 44)
