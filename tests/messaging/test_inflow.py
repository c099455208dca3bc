"""Reading begins at the positions in PostgreSQL, and ignores all others, whatever the client does."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)

from shared.messaging import positions
from shared.messaging.batch import Batch, Here, Span
from shared.messaging.inflow import ClusterChangedError, Inflow, PositionLostError
from shared.messaging.kafka import Broker
from shared.postgres.pool import Pool
from tests.contracts.records import EVERY_TYPE
from tests.messaging.log import GROUP, TOPIC, purchase, record, wait_until

ZERO, ONE = TopicPartition(TOPIC, 0), TopicPartition(TOPIC, 1)


def fetched(place: TopicPartition, offset: int) -> dict[TopicPartition, list[Any]]:
    """A record as the client returns it."""
    return {place: [record(purchase(f"e{place.partition}-{offset}"), offset, place.partition)]}


@dataclass
class Consumer:
    """Behaves like the client: `getmany` returns or raises each of `answers` in turn, and then returns nothing."""

    answers: list[Callable[[], Any]] = field(default_factory=list)
    waiting: dict[TopicPartition, list[int]] = field(default_factory=dict)
    """The offsets of the records that whoever asks for their partition finds."""
    assigned: set[TopicPartition] = field(default_factory=lambda: {ZERO, ONE})
    beginnings: dict[TopicPartition, int] = field(default_factory=dict)
    sought: list[tuple[TopicPartition, int]] = field(default_factory=list)
    listener: Any = None

    def subscribe(self, _topics: Iterable[str], listener: ConsumerRebalanceListener) -> None:
        self.listener = listener

    async def getmany(self, *places: TopicPartition, **_: object) -> Any:
        await asyncio.sleep(0)
        for place in places:
            if self.waiting.get(place):
                return fetched(place, self.waiting[place].pop(0))
        if not self.answers:
            await asyncio.sleep(0.01)
            return {}
        answer = self.answers.pop(0)()
        if isinstance(answer, Exception):
            raise answer
        return await answer if asyncio.iscoroutine(answer) else answer

    def assignment(self) -> set[TopicPartition]:
        return self.assigned

    async def beginning_offsets(self, places: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return {place: self.beginnings.get(place, 0) for place in places}

    def seek(self, place: TopicPartition, offset: int) -> None:
        self.sought.append((place, offset))

    async def join(self) -> None:
        await self.listener.on_partitions_revoked(set())
        await self.listener.on_partitions_assigned(self.assigned)


@dataclass
class Reading:
    """An inflow on a scripted consumer, and the batches that it offered."""

    inflow: Inflow
    consumer: Consumer
    offered: list[Batch] = field(default_factory=list)

    async def take(self, batch: Batch) -> None:
        self.offered.append(batch)

    async def run(self) -> None:
        await self.inflow.run([TOPIC], self.take)

    @asynccontextmanager
    async def joined(self) -> AsyncIterator[asyncio.Task[None]]:
        """Run until the end of the context, after joining the group."""
        task = asyncio.create_task(self.run())
        await wait_until(lambda: self.consumer.listener is not None)
        await self.consumer.join()
        try:
            yield task
        finally:
            self.inflow.stopping = True
            await asyncio.wait([task], timeout=5)


@pytest.fixture
async def reading(platform_pool: Pool, monkeypatch: pytest.MonkeyPatch) -> Reading:
    consumer = Consumer()

    async def cluster_id(_: Broker) -> str:
        return GROUP.cluster_id

    monkeypatch.setattr(Broker, "consumer", lambda _broker, _group: consumer)
    monkeypatch.setattr(Broker, "cluster_id", cluster_id)
    broker, decoder = Broker("nowhere:1", "test"), Here(EVERY_TYPE)
    return Reading(Inflow(broker, platform_pool, GROUP, decoder, 500), consumer)


async def store(pool: Pool, place: TopicPartition, offset: int) -> None:
    async with pool.acquire() as connection:
        await positions.put(connection, GROUP, (place.topic, place.partition), offset)


async def test_it_begins_at_the_stored_position_or_the_earliest_record(reading: Reading, platform_pool: Pool):
    await store(platform_pool, ZERO, 7)
    reading.consumer.beginnings = {ZERO: 3, ONE: 5}
    async with reading.joined():
        await wait_until(lambda: len(reading.consumer.sought) == 2)
        reading.consumer.answers += [lambda: fetched(ZERO, 7), lambda: fetched(ONE, 5), lambda: fetched(ZERO, 8)]
        await wait_until(lambda: len(reading.offered) == 3)
    assert sorted(reading.consumer.sought) == [(ZERO, 7), (ONE, 5)]
    spans = [span for item in reading.offered for span in item.spans.values()]
    assert spans == [Span(7, 8), Span(None, 6), Span(8, 9)]
    assert reading.inflow.is_assigned


async def test_records_read_before_the_seek_are_dropped(reading: Reading):
    """The client reads a new assignment from the group's commit a moment before it reports the assignment."""
    consumer = reading.consumer
    async with reading.joined():
        await wait_until(lambda: len(consumer.sought) == 2)

        async def rebalance() -> dict[TopicPartition, list[Any]]:
            await reading.inflow.on_partitions_revoked({ZERO, ONE})
            consumer.sought.clear()
            consumer.answers.append(lambda: fetched(ZERO, 400))
            return {}

        consumer.answers.append(rebalance)
        await wait_until(lambda: not consumer.answers)
        await asyncio.sleep(0.03)
        assert reading.offered == []
        assert consumer.sought == [], "nothing is sought while partitions go from hand to hand"
        assert not reading.inflow.is_assigned
        await reading.inflow.on_partitions_assigned({ZERO, ONE})
        await wait_until(lambda: len(consumer.sought) == 2)
        consumer.answers.append(lambda: fetched(ZERO, 0))
        await wait_until(lambda: len(reading.offered) == 1)


async def test_a_rebalance_makes_offered_batches_stale(reading: Reading):
    async with reading.joined():
        reading.consumer.answers.append(lambda: fetched(ZERO, 0))
        await wait_until(lambda: len(reading.offered) == 1)
        assert not reading.inflow.is_stale(reading.offered[0])
        await reading.inflow.on_partitions_revoked({ZERO, ONE})
        assert reading.inflow.is_stale(reading.offered[0])


async def test_a_revocation_waits_for_the_transaction_in_flight(reading: Reading):
    async with reading.joined():
        reading.consumer.answers.append(lambda: fetched(ZERO, 0))
        await wait_until(lambda: len(reading.offered) == 1)
        with reading.inflow.applying(reading.offered[0]):
            revoking = asyncio.create_task(reading.inflow.on_partitions_revoked({ZERO}))
            await asyncio.sleep(0.02)
            assert not revoking.done()
        await asyncio.wait_for(revoking, 1)


async def test_a_lanes_partition_numbers_are_closed_to_other_lanes_on_every_topic(reading: Reading):
    taken: list[tuple[int, int]] = []
    may_apply = asyncio.Event()

    async def take(batch: Batch) -> None:
        taken.extend((partition, span.end) for (_, partition), span in batch.spans.items())
        if len(taken) == 1:
            await may_apply.wait()
        with reading.inflow.applying(batch):
            pass

    first, *others = [TopicPartition(TOPIC, number) for number in (0, 2, 4)]
    same_number = TopicPartition("commerce.reviews", 0)
    reading.consumer.assigned = {first, same_number, *others}
    task = asyncio.create_task(reading.inflow.run([TOPIC], take, take))
    await wait_until(lambda: reading.consumer.listener is not None)
    await reading.consumer.join()
    await wait_until(lambda: len(reading.consumer.sought) == 4)
    reading.consumer.waiting = {first: [0]}
    await wait_until(lambda: len(taken) == 1)
    reading.consumer.waiting = {same_number: [0], **{place: [0, 1] for place in others}}
    await wait_until(lambda: len(taken) == 5)
    await asyncio.sleep(0.05)
    assert sorted(taken[1:]) == [(2, 1), (2, 2), (4, 1), (4, 2)], "the customers of number 0 are in other hands"
    may_apply.set()
    await wait_until(lambda: len(taken) == 6)
    reading.inflow.stopping = True
    await asyncio.wait_for(task, 5)


async def test_a_lane_may_read_partitions_that_it_holds(reading: Reading):
    async with reading.joined():
        reading.consumer.answers += [lambda: fetched(ZERO, 0), lambda: fetched(ZERO, 1)]
        await wait_until(lambda: len(reading.offered) == 2)


async def test_a_rewind_frees_all_partitions(reading: Reading):
    """Stale batches are never applied, so nothing else would free their partitions."""
    held = asyncio.Event()

    async def take(batch: Batch) -> None:
        reading.offered.append(batch)
        if len(reading.offered) == 1:
            await held.wait()

    reading.consumer.assigned = {ZERO}
    task = asyncio.create_task(reading.inflow.run([TOPIC], take, take))
    await wait_until(lambda: reading.consumer.listener is not None)
    await reading.consumer.join()
    await wait_until(lambda: len(reading.consumer.sought) == 1)
    reading.consumer.waiting = {ZERO: [0, 0]}
    await wait_until(lambda: len(reading.offered) == 1)
    await asyncio.sleep(0.05)
    assert len(reading.offered) == 1, "the other lane has nothing to read"
    reading.inflow.rewind()
    await wait_until(lambda: len(reading.offered) == 2)
    held.set()
    reading.inflow.stopping = True
    await asyncio.wait_for(task, 5)


@dataclass
class Slow(Consumer):
    """Reads one record at a time from its position, as the client does; answers of partition 0 are slow."""

    at: dict[TopicPartition, int] = field(default_factory=dict)

    async def getmany(self, *places: TopicPartition, **_: object) -> Any:
        await asyncio.sleep(0.1 if ZERO in places else 0.005)
        for place in places:
            if place in self.at:
                self.at[place] += 1
                return fetched(place, self.at[place] - 1)
        return {}

    def seek(self, place: TopicPartition, offset: int) -> None:
        super().seek(place, offset)
        self.at[place] = offset


async def test_a_fetch_during_another_lanes_seek_loses_no_records(reading: Reading):
    """Its answer starts at the new position: if it were dropped as stale, its records would be lost for ever."""
    consumer = reading.inflow._consumer = Slow()
    task = asyncio.create_task(reading.inflow.run([TOPIC], reading.take, reading.take))
    await wait_until(lambda: consumer.listener is not None)
    await consumer.join()
    for number in range(6):
        count = len(reading.offered)
        await wait_until(lambda count=count: any((TOPIC, 0) in item.spans for item in reading.offered[count:]))
        await asyncio.sleep(0.015 * number)
        reading.inflow.rewind()
    reading.inflow.stopping = True
    await asyncio.wait_for(task, 5)
    for item in reading.offered:
        [span] = item.spans.values()
        assert len(item.events) == span.end - (span.start or 0), "a batch holds every record of its span"


async def test_positions_are_read_while_no_batch_is_applied(reading: Reading, platform_pool: Pool):
    """A transaction in flight moves the position of its partition when it commits."""
    async with reading.joined():
        await wait_until(lambda: len(reading.consumer.sought) == 2)
        reading.consumer.answers.append(lambda: fetched(ONE, 0))
        await wait_until(lambda: len(reading.offered) == 1)
        reading.consumer.sought.clear()
        with reading.inflow.applying(reading.offered[0]):
            reading.inflow.rewind()
            await asyncio.sleep(0.05)
            assert reading.consumer.sought == []
            await store(platform_pool, ZERO, 9)
        await wait_until(lambda: len(reading.consumer.sought) == 2)
    assert (ZERO, 9) in reading.consumer.sought


async def test_a_failed_lane_ends_all(reading: Reading):
    task = asyncio.create_task(reading.inflow.run([TOPIC], reading.take, reading.take))
    await wait_until(lambda: reading.consumer.listener is not None)
    await reading.consumer.join()
    await wait_until(lambda: len(reading.consumer.sought) == 2)
    reading.consumer.answers.append(GroupAuthorizationFailedError)
    with pytest.raises(GroupAuthorizationFailedError):
        await asyncio.wait_for(task, 5)


async def test_a_position_before_the_log_is_an_error(reading: Reading, platform_pool: Pool):
    await store(platform_pool, ONE, 7)
    reading.consumer.beginnings = {ONE: 8}
    async with reading.joined() as running:
        with pytest.raises(PositionLostError, match=f"positions set {TOPIC} 1 OFFSET"):
            await asyncio.wait_for(running, 5)


async def test_a_position_beyond_the_log_is_an_error(reading: Reading):
    async with reading.joined() as running:
        await wait_until(lambda: len(reading.consumer.sought) == 2)
        reading.consumer.answers.append(lambda: OffsetOutOfRangeError({ZERO: 12}))
        with pytest.raises(PositionLostError, match="stored position 12 is outside the log"):
            await asyncio.wait_for(running, 5)


async def test_offsets_in_kafka_are_ignored(reading: Reading):
    reading.consumer.answers += [lambda: OffsetOutOfRangeError({ZERO: 12}), lambda: NoOffsetForPartitionError(ZERO)]
    task = asyncio.create_task(reading.run())
    await wait_until(lambda: not reading.consumer.answers)
    await reading.consumer.join()
    reading.consumer.answers.append(lambda: fetched(ZERO, 0))
    await wait_until(lambda: len(reading.offered) == 1)
    reading.inflow.stopping = True
    await asyncio.wait_for(task, 5)


async def test_another_cluster_ends_the_worker(reading: Reading, monkeypatch: pytest.MonkeyPatch):
    async def another(_: Broker) -> str:
        return "cluster-2"

    monkeypatch.setattr(Broker, "cluster_id", another)
    async with reading.joined() as running:
        with pytest.raises(ClusterChangedError, match=r"was cluster-1 and is cluster-2"):
            await asyncio.wait_for(running, 5)


async def test_transient_failures_are_retried_and_others_are_not(reading: Reading):
    async with reading.joined() as running:
        await wait_until(lambda: len(reading.consumer.sought) == 2)
        reading.consumer.answers += [KafkaConnectionError, lambda: fetched(ZERO, 0)]
        await wait_until(lambda: len(reading.offered) == 1)
        reading.consumer.answers.append(GroupAuthorizationFailedError)
        with pytest.raises(GroupAuthorizationFailedError):
            await asyncio.wait_for(running, 5)
