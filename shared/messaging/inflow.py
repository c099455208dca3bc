"""Reads batches from Kafka, with a consumer whose positions are in PostgreSQL.

It reads and decodes a batch while the previous one is applied. A rebalance, or a position that another worker moved,
starts a new generation: batches of older generations are stale.

Lanes take turns in reading. What a lane reads is closed to the others until it is applied: the partition number on
every topic, because a customer has the same number on all of them. So each customer's events stay in order, one lane
computes while another waits for the database, and few records make one small batch, not two.
"""

import asyncio
from collections import Counter
from collections.abc import Collection, Generator, Iterable
from contextlib import contextmanager
from typing import Final

import structlog
from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    NodeNotReadyError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)

from shared import telemetry
from shared.contracts.envelope import Record
from shared.contracts.reasons import Reason
from shared.messaging import positions
from shared.messaging.batch import Batch, Decoder, Malformation, Offer, Partition, Span
from shared.messaging.fetching import end_of
from shared.messaging.kafka import Broker
from shared.messaging.positions import Group
from shared.messaging.record_batches import Fetched, Unreadable
from shared.postgres.pool import Pool, is_transient

_POLL_MS: Final = 200
_SHORT_POLL_MS: Final = 10
"""While partitions may become readable at any moment: by an assignment, or from another lane."""
_PAUSE: Final = 0.5
_SOUGHT_SOON: Final = 0.02
_COMMIT_SECONDS: Final = 4.0
_CLOSE_SECONDS: Final = 5.0

_log = structlog.stdlib.get_logger(__name__)


class PositionLostError(Exception):
    """A stored position is outside the log: unhandled records are gone, and a person has to decide."""


class ClusterChangedError(Exception):
    """Another cluster answers at the broker's address, where the stored positions have no meaning."""


class Inflow(ConsumerRebalanceListener):
    """Reads and decodes batches of up to `batch_size` records from a group's partitions."""

    def __init__(self, broker: Broker, pool: Pool, group: Group, decoder: Decoder, batch_size: int) -> None:
        self._broker = broker
        self._consumer = broker.consumer(group.name)
        self._pool = pool
        self._group = group
        self._decoder = decoder
        self._batch_size = batch_size
        self._next: dict[Partition, int | None] = {}
        self._joined = False
        self._answered = True
        self._must_seek = True
        self._generation = 0
        self._handled: dict[TopicPartition, int] = {}
        self._reading = asyncio.Lock()
        self._claims = _Claims()
        self._applying = _Gauge()
        self.stopping = False

    @property
    def is_assigned(self) -> bool:
        """Whether the consumer is in its group, has its positions, and the broker answered recently."""
        return self._joined and self._answered and not self._must_seek

    def is_stale(self, batch: Batch) -> bool:
        """Whether the partitions of a batch were lost or rewound since it was read."""
        return batch.generation != self._generation

    async def start(self) -> None:
        """Connect to the broker.

        Raises:
            aiokafka.errors.KafkaError: it does not answer.
        """
        await self._consumer.start()

    @contextmanager
    def applying(self, batch: Batch) -> Generator[None]:
        """The context in which a batch is applied: revocations and seeks wait for its end.

        Afterwards other lanes can read the partitions of the batch.
        """
        with self._applying.active():
            yield
        if not self.is_stale(batch):
            self._claims.give_back(batch.spans)

    async def idle(self) -> None:
        """Wait until no batch is being applied."""
        await self._applying.idle()

    async def run(self, topics: Iterable[str], *offers: Offer) -> None:
        """Read until `stopping`, with a lane for each offer, which waits while its batch is not taken.

        Raises:
            PositionLostError, ClusterChangedError: see there.
        """
        self._consumer.subscribe(list(topics), listener=self)
        readers = [asyncio.create_task(self._read(lane, offer)) for lane, offer in enumerate(offers)]
        try:
            await asyncio.gather(*readers)
        finally:
            for reader in readers:
                reader.cancel()

    async def _read(self, lane: int, offer: Offer) -> None:
        while not self.stopping:
            try:
                batch = await self._next_batch(lane)
                if batch is not None:
                    await offer(batch)
            except (NoOffsetForPartitionError, OffsetOutOfRangeError) as error:
                # Before the seek, aiokafka starts at the group's offsets in Kafka, which may be absent or expired;
                # only the positions in PostgreSQL count.
                if isinstance(error, OffsetOutOfRangeError) and not self._must_seek:
                    raise await self._lost(error) from error
                await asyncio.sleep(_SOUGHT_SOON)
            except Exception as error:
                if not (is_transient(error) or (isinstance(error, KafkaError) and error.retriable)):
                    raise
                _log.warning("fetch_is_retried", failure=type(error).__name__, error=str(error))
                await asyncio.sleep(_PAUSE)

    async def _next_batch(self, lane: int) -> Batch | None:
        """Read and decode a batch for a lane; None where there is nothing valid to read."""
        await self._claims.wait_for_any(lane, self._consumer.assignment())
        # One lane at a time: a fetch during another lane's seek would already advance the new positions, and its
        # records would then be dropped as stale and never be read again.
        async with self._reading:
            if self._must_seek and self._joined:
                await self._seek()
            generation = self._generation
            fetched = await self._fetch(lane)
            # In a rebalance aiokafka reads new partitions a moment before it reports them, from the group's offsets
            # in Kafka: nothing is valid before `_seek`.
            if not fetched or self._must_seek or generation != self._generation:
                return None
            spans = {tp: Span(self._next[tp], end_of(records[-1])) for tp, records in fetched.items()}
            self._next.update({tp: span.end for tp, span in spans.items()})
            self._claims.take(lane, spans)
        records = [record for several in fetched.values() for record in several]
        events, malformed = await self._decoder.read([record for record in records if isinstance(record, Record)])
        unread = [_malformation(record) for record in records if isinstance(record, Unreadable)]
        return Batch(spans, events, malformed + unread, generation)

    async def _fetch(self, lane: int) -> dict[Partition, list[Fetched]]:
        """Fetch records of the partitions that no other lane holds."""
        assigned = self._consumer.assignment()
        mine = [tp for tp in assigned if self._claims.allow(lane, tp.partition)]
        if assigned and not mine:  # without arguments the client reads all partitions
            return {}
        waits = _POLL_MS if self._joined and len(mine) == len(assigned) else _SHORT_POLL_MS
        polled = await self._consumer.getmany(*mine, timeout_ms=waits, max_records=self._batch_size)
        return {(tp.topic, tp.partition): records for tp, records in polled.items() if records}

    async def _seek(self) -> None:
        """Seek to the stored positions, or to the earliest record of partitions that have none."""
        generation = self._generation
        await self.idle()  # a commit would move positions
        await self._check_cluster()
        stored = await positions.load(self._pool, self._group)
        assigned = self._consumer.assignment()
        earliest = await self._consumer.beginning_offsets(assigned) if assigned else {}
        if generation != self._generation:
            return
        following: dict[Partition, int | None] = {}
        for tp in assigned:
            offset = stored.get((tp.topic, tp.partition))
            if offset is not None and offset < earliest[tp]:
                raise PositionLostError(self._explain(tp, offset, f"the log begins at {earliest[tp]}"))
            self._handled[tp] = earliest[tp] if offset is None else offset
            self._consumer.seek(tp, self._handled[tp])
            following[tp.topic, tp.partition] = offset
        self._next = following
        self._must_seek = False

    def rewind(self) -> None:
        """Discard what was read, and go back to the stored positions."""
        self._generation += 1
        self._claims.clear()
        self._next = {}
        self._must_seek = True

    async def on_partitions_revoked(  # pyright: ignore[reportIncompatibleMethodOverride] aiokafka awaits it
        self, revoked: Iterable[TopicPartition]
    ) -> None:
        """Discard what was read, and wait for the transactions in flight."""
        self.rewind()
        self._joined = False
        await self.idle()
        _log.info("partitions_revoked", count=len(list(revoked)))

    async def on_partitions_assigned(  # pyright: ignore[reportIncompatibleMethodOverride] see above
        self, assigned: Iterable[TopicPartition]
    ) -> None:
        """Have the next read seek to the stored positions."""
        self.rewind()
        self._joined = True
        _log.info("partitions_assigned", count=len(list(assigned)))

    def applied(self, batch: Batch) -> None:
        """Note the positions of a committed batch, for `report`."""
        self._handled.update({TopicPartition(*tp): span.end for tp, span in batch.spans.items()})

    async def report(self) -> None:
        """Commit the positions to Kafka, only for its lag tools, and measure the lag."""
        assigned = self._consumer.assignment()
        offsets = {tp: offset for tp, offset in self._handled.items() if tp in assigned}
        telemetry.LAG.clear()  # partitions of other workers are not measured here
        for tp, offset in offsets.items():
            telemetry.LAG.labels(tp.topic, str(tp.partition)).set(max(0, (self._consumer.highwater(tp) or 0) - offset))
        if offsets and self._joined:
            try:
                await asyncio.wait_for(self._consumer.commit(offsets), timeout=_COMMIT_SECONDS)
                self._answered = True
            except KafkaError as error:  # an error is normal in a rebalance
                self._answered = not isinstance(error, (KafkaConnectionError, NodeNotReadyError, KafkaTimeoutError))
            except TimeoutError:
                self._answered = False

    def ends(self) -> dict[Partition, int]:
        """The end of each assigned partition's log, as the broker told it last."""
        ends = ((tp, self._consumer.highwater(tp)) for tp in self._consumer.assignment())
        return {(tp.topic, tp.partition): end for tp, end in ends if end is not None}

    async def close(self) -> None:
        """Leave the group, within a bounded time, since the client can hang or fail while all brokers are down."""
        leaving = asyncio.create_task(self._consumer.stop())
        leaving.add_done_callback(_log_failure)
        await asyncio.wait([leaving], timeout=_CLOSE_SECONDS)

    async def _check_cluster(self) -> None:
        cluster_id = await self._broker.cluster_id()
        if cluster_id != self._group.cluster_id:
            raise ClusterChangedError(f"the cluster was {self._group.cluster_id} and is {cluster_id}")

    async def _lost(self, error: OffsetOutOfRangeError) -> PositionLostError:
        await self._check_cluster()
        offsets: dict[TopicPartition, int] = error.args[0]
        tp, offset = next(iter(offsets.items()))
        return PositionLostError(self._explain(tp, offset, "the broker has no such offset"))

    def _explain(self, tp: TopicPartition, offset: int, why: str) -> str:
        return (
            f"{tp.topic} partition {tp.partition}: the stored position {offset} is outside the log ({why}), so "
            f"records are missing; look with `positions list` and decide with "
            f"`positions set {tp.topic} {tp.partition} OFFSET`"
        )


class _Claims:
    """The lane that holds each partition number, and the number of its batches."""

    def __init__(self) -> None:
        self._lanes: dict[int, int] = {}
        self._counts: Counter[int] = Counter()
        self._given_back = asyncio.Event()

    def allow(self, lane: int, number: int) -> bool:
        """Whether a lane may read partitions of a number, which no other lane holds."""
        return self._lanes.get(number, lane) == lane

    def take(self, lane: int, partitions: Iterable[Partition]) -> None:
        """Note that a lane has read a batch of these partitions."""
        for number in {number for _, number in partitions}:
            self._lanes[number] = lane
            self._counts[number] += 1

    def give_back(self, partitions: Iterable[Partition]) -> None:
        """Note that a batch of these partitions is applied."""
        for number in {number for _, number in partitions}:
            self._counts[number] -= 1
            if not self._counts[number]:
                del self._lanes[number]
        self._given_back.set()

    def clear(self) -> None:
        """Forget all claims, whose batches are stale."""
        self._lanes.clear()
        self._counts.clear()
        self._given_back.set()

    async def wait_for_any(self, lane: int, assigned: Collection[TopicPartition]) -> None:
        """Wait until a lane may read one of the assigned partitions."""
        while assigned and not any(self.allow(lane, tp.partition) for tp in assigned):
            self._given_back.clear()
            await self._given_back.wait()


class _Gauge:
    """Number of active users of a resource; others can wait until there is none."""

    def __init__(self) -> None:
        self._count = 0
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    @contextmanager
    def active(self) -> Generator[None]:
        """The context of an active user."""
        self._count += 1
        self._is_idle.clear()
        try:
            yield
        finally:
            self._count -= 1
            if not self._count:
                self._is_idle.set()

    async def idle(self) -> None:
        """Wait until there is no active user."""
        await self._is_idle.wait()


def _log_failure(leaving: asyncio.Task[None]) -> None:
    """Log why leaving the group failed; the broker will notice the missing heartbeats."""
    if not leaving.cancelled() and (error := leaving.exception()):
        _log.warning("group_was_not_left", failure=type(error).__name__, error=str(error))


def _malformation(unreadable: Unreadable) -> Malformation:
    return Malformation(unreadable.record, Reason.NOT_A_CLOUDEVENT, unreadable.error)
