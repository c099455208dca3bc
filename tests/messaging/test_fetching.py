"""aiokafka's fetcher with this project's reader: any response of a broker is read to its end."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.subscription_state import SubscriptionState

from shared.contracts.envelope import Record
from shared.messaging import fetching, record_batches
from shared.messaging.fetching import _Fetcher, _with, end_of
from shared.messaging.record_batches import Fetched, Unreadable
from tests.support import raw_kafka as raw
from tests.support.raw_kafka import Batch, record

PLACE = TopicPartition("shop.purchases", 2)
Answer = Callable[[int], bytes]


class Client:
    """Answers fetches of one partition as a broker does: with the bytes of `answer` for the requested offset."""

    _metadata_max_age_ms = 300_000

    def __init__(self, answer: Answer, aborted: list[tuple[int, int]]) -> None:
        self._loop = asyncio.get_running_loop()
        self.cluster = SimpleNamespace(leader_for_partition=lambda _: 0, broker_metadata=lambda _: None)
        self.asked: list[int] = []
        self._answer, self._aborted = answer, aborted

    async def send(self, _node: int, request: Any) -> Any:
        ((topic, ((partition, offset, _),)),) = request.topics
        self.asked.append(offset)
        data = self._answer(offset)
        if not data:
            await asyncio.sleep(0.01)
        answers = [(partition, 0, 1_000, 1_000, 0, self._aborted, data)]
        return SimpleNamespace(API_VERSION=5, topics=[(topic, answers)])


class Log:
    """Consecutive batches; a fetch returns those that end after its offset, and a part of another."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, bytes]] = []
        self.end = 0

    def add(self, records: list[bytes], **fields: Any) -> None:
        self.end += len(records)
        self.batches.append((self.end, Batch(base_offset=self.end - len(records), **fields).of(records)))

    def __call__(self, offset: int) -> bytes:
        data = b"".join(content for end, content in self.batches if end > offset)
        return data + b"\x00" * 30 if data else b""


@asynccontextmanager
async def fetching_from(
    answer: Answer, aborted: list[tuple[int, int]] | None = None, **options: Any
) -> AsyncIterator[tuple[_Fetcher, Client]]:
    client, subscription = Client(answer, aborted or []), SubscriptionState(loop=asyncio.get_running_loop())
    subscription.assign_from_user([PLACE])
    subscription.subscription.assignment.state_value(PLACE).reset_to(options.pop("position", 0))
    fetcher = _Fetcher(client, subscription, isolation_level="read_committed", auto_offset_reset="none", **options)
    try:
        yield fetcher, client
    finally:
        await fetcher.close()


async def pull(fetcher: _Fetcher, count: int, at_once: int = 500) -> list[Fetched]:
    fetched: list[Fetched] = []
    async with asyncio.timeout(10):
        while len(fetched) < count:
            for several in (await fetcher.fetched_records([PLACE], 0.05, max_records=at_once)).values():
                fetched += several
    assert len(fetched) == count
    return fetched


def seen(fetched: list[Fetched]) -> list[bytes | None]:
    return [item.value if isinstance(item, Record) else None for item in fetched]


async def test_records_come_with_the_names_of_their_headers_as_bytes():
    log = Log()
    log.add([record(b"k", b"a", [(b"caf\xe9", b"x"), (b"ce_\x00type", None)], delta=0), record(None, None, delta=1)])
    log.add([record(b"k", b"c")], codec=raw.ZSTD)
    async with fetching_from(log) as (fetcher, _):
        first, second, third = await pull(fetcher, 3, at_once=1)
    assert isinstance(first, Record)
    assert first.headers == ((b"caf\xe9", b"x"), (b"ce_\x00type", None))
    assert [(item.offset, item.value) for item in (first, second, third) if isinstance(item, Record)] == [
        (0, b"a"),
        (1, None),
        (2, b"c"),
    ]


async def test_reading_begins_in_the_middle_of_a_batch():
    log = Log()
    log.add([record(b"k", b"%d" % number) for number in range(5)])
    async with fetching_from(log, position=3) as (fetcher, _):
        assert seen(await pull(fetcher, 2)) == [b"3", b"4"]


async def test_records_of_aborted_transactions_and_their_markers_are_skipped():
    ends = {"attributes": raw.CONTROL | raw.TRANSACTIONAL}
    log = Log()
    log.add([record(b"k", b"aborted")], attributes=raw.TRANSACTIONAL, producer_id=7)
    log.add([record(b"k", b"of another")], attributes=raw.TRANSACTIONAL, producer_id=8)
    log.add([record(b"\0\0\0\0", b"")], **ends, producer_id=7)
    log.add([record(b"\0", b"no end of anything")], **ends, producer_id=7)
    log.add([record(b"k", b"committed")], attributes=raw.TRANSACTIONAL, producer_id=7)
    log.add([record(b"\0\0\0\1", b"")], **ends, producer_id=7)
    log.add([record(b"k", b"plain")])
    async with fetching_from(log, aborted=[(7, 0)]) as (fetcher, _):
        assert seen(await pull(fetcher, 3)) == [b"of another", b"committed", b"plain"]


@pytest.mark.parametrize(
    "fields, error",
    [({"crc": 1}, "its checksum is wrong"), ({"magic": 1}, "format has the number 1"), ({"codec": 6}, "unknown codec")],
)
async def test_an_unreadable_batch_is_one_item_and_others_are_read(fields: dict[str, Any], error: str):
    log = Log()
    log.add([record(b"k", b"before")])
    log.add([record(b"k", b"x")] * 3, **fields)
    log.add([record(b"k", b"after")])
    async with fetching_from(log) as (fetcher, client):
        before, broken, after = await pull(fetcher, 3)
        again = client.asked.count(1)
    assert seen([before, after]) == [b"before", b"after"]
    assert isinstance(broken, Unreadable)
    assert error in broken.error
    assert (broken.record.offset, end_of(broken), end_of(after)) == (1, 4, 5)
    assert broken.record.value == log.batches[1][1]
    assert again == (0 if "codec" in fields else fetching._FETCHES - 1), "what may heal is fetched again before"


async def test_a_batch_damaged_in_transfer_is_read_by_a_later_fetch():
    log = Log()
    log.add([record(b"k", b"a")])
    damaged = bytearray(log(0))
    damaged[-40] ^= 1
    answers = [bytes(damaged), bytes(damaged)]
    async with fetching_from(lambda offset: answers.pop() if answers else log(offset)) as (fetcher, _):
        assert seen(await pull(fetcher, 1)) == [b"a"]


async def test_the_last_faulty_batch_ends_at_its_own_last_offset_if_plausible():
    log = Log()
    log.add([record(b"k", b"x")] * 3, crc=1)
    async with fetching_from(log) as (fetcher, _):
        (broken,) = await pull(fetcher, 1)
        assert end_of(broken) == 3
    log = Log()
    log.add([record(b"k", b"x")] * 3, crc=1, count=9)
    async with fetching_from(log) as (fetcher, _):
        assert [end_of(item) for item in await pull(fetcher, 3)] == [1, 2, 3], "else it is passed one by one"


async def test_bytes_that_are_no_batch_are_skipped_offset_by_offset():
    good = Batch(base_offset=2).of([record(b"k", b"good")])

    def answer(offset: int) -> bytes:
        return good if offset == 2 else b"" if offset > 2 else b"\xff" * 20

    async with fetching_from(answer) as (fetcher, _):
        *broken, last = await pull(fetcher, 3)
    assert [(end_of(item), item.record.value) for item in broken if isinstance(item, Unreadable)] == [
        (1, b"\xff" * 20),
        (2, b"\xff" * 20),
    ]
    assert seen([last]) == [b"good"]


async def test_a_call_returns_a_bounded_number_of_bytes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fetching, "MOST_PULLED", 10_000)
    log = Log()
    for number in range(3):
        records = [record(b"k", b"%d" % number * 4_000, delta=delta) for delta in range(5)]
        log.add(records, codec=raw.ZSTD * (number % 2))
    async with fetching_from(log) as (fetcher, _):
        counts: list[int] = []
        values: list[bytes | None] = []
        async with asyncio.timeout(10):
            while len(values) < 15:
                for several in (await fetcher.fetched_records([PLACE], 0.05, max_records=500)).values():
                    counts.append(len(several))
                    values += seen(several)
    assert values == [b"%d" % number * 4_000 for number in range(3) for _ in range(5)]
    assert max(counts) <= 3


async def test_a_call_decompresses_few_expanding_batches(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(record_batches, "MOST_EXPANDED", 1 << 20)
    monkeypatch.setattr(fetching, "MOST_PULLED", 1 << 18)
    log = Log()
    for _ in range(10):
        log.add([record(b"k", bytes(2 << 20))], codec=raw.ZSTD)
    async with fetching_from(log) as (fetcher, _):
        async with asyncio.timeout(10):
            while not (first := await fetcher.fetched_records([PLACE], 0.05, max_records=500)):
                pass
        fetched = first[PLACE] + await pull(fetcher, 10 - len(first[PLACE]))
    assert len(first[PLACE]) <= 3
    assert all(isinstance(item, Unreadable) for item in fetched)
    assert [end_of(item) for item in fetched] == list(range(1, 11))


async def test_single_letters_can_be_replayed():
    log = Log()
    log.add([record(b"k", b"a"), record(b"k", b"b")])
    async with fetching_from(log) as (fetcher, _):
        assert seen([await fetcher.next_record([PLACE]), await fetcher.next_record([PLACE])]) == [b"a", b"b"]


def test_an_incompatible_aiokafka_is_reported():
    """The import fails if aiokafka's functions do not use the global names that the reader replaces."""
    with pytest.raises(LookupError, match=r"_proc_fetch_request of this version of aiokafka does not use RecordReader"):
        _with(Fetcher._proc_fetch_request, RecordReader=object)
