"""Kafka → batches: a consumer whose positions live in PostgreSQL.

It reads, decodes and offers one batch while the one before is being applied. A rebalance or a
position that somebody else moved starts a new generation: batches of older ones are stale.

Lanes take turns in reading. What one reads is closed to the others until it is applied: not the partition alone
but its number on every topic, since topics share their customers by it. So each customer's events stay in order,
one lane has the processor while another waits for the database, and few records make one small batch, not two.
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
from shared.messaging.record_batches import Found, Unreadable
from shared.postgres.pool import Pool, is_transient

_POLL_MS: Final = 200
_SHORT_POLL_MS: Final = 10
"""While there may be more to read at any moment: partitions that are assigned, or that another lane gives back."""
_PAUSE: Final = 0.5
_SOUGHT_SOON: Final = 0.02
_COMMIT_SECONDS: Final = 4.0
_CLOSE_SECONDS: Final = 5.0

_log = structlog.stdlib.get_logger(__name__)


class PositionLostError(Exception):
    """A stored position is outside the log: records are gone that were never handled. A person decides."""


class ClusterChangedError(Exception):
    """Another cluster answers at the broker's address: positions of the one before mean nothing there."""


class Inflow(ConsumerRebalanceListener):
    """Reads batches of up to `batch_size` records from a group's partitions, decoded."""

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
        """Whether the consumer has joined its group, knows where to read, and the broker answered of late."""
        return self._joined and self._answered and not self._must_seek

    def is_stale(self, one: Batch) -> bool:
        """Whether a batch's partitions were lost or rewound since it was read."""
        return one.generation != self._generation

    async def start(self) -> None:
        """Connect to the broker.

        Raises:
            aiokafka.errors.KafkaError: it does not answer.
        """
        await self._consumer.start()

    @contextmanager
    def applying(self, batch: Batch) -> Generator[None]:
        """Whoever applies a batch does it in here: a revocation waits for it, and so does a search for positions.

        What the batch was of can be read by other lanes afterwards.
        """
        with self._applying.one():
            yield
        if not self.is_stale(batch):
            self._claims.give_back(batch.spans)

    async def idle(self) -> None:
        """Wait until no batch is being applied."""
        await self._applying.none()

    async def run(self, topics: Iterable[str], *offers: Offer) -> None:
        """Read until told to stop, a lane for each offer, which takes its batches; waits while one is not taken.

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
                # Before a position is sought, aiokafka begins where the group last committed to Kafka, which may
                # be nowhere, or long gone: what PostgreSQL says is all that counts.
                if isinstance(error, OffsetOutOfRangeError) and not self._must_seek:
                    raise await self._lost(error) from error
                await asyncio.sleep(_SOUGHT_SOON)
            except Exception as error:
                if not (is_transient(error) or (isinstance(error, KafkaError) and error.retriable)):
                    raise
                _log.warning("fetch_is_retried", failure=type(error).__name__, error=str(error))
                await asyncio.sleep(_PAUSE)

    async def _next_batch(self, lane: int) -> Batch | None:
        """What there is for a lane, decoded; None where there is nothing, or nothing that counts."""
        await self._claims.some_open(lane, self._consumer.assignment())
        # One lane at a time: what was asked for while another sought positions would be answered from where is
        # just sought, and dropped as stale: nobody would ever read it again.
        async with self._reading:
            if self._must_seek and self._joined:
                await self._seek()
            generation = self._generation
            fetched = await self._fetch(lane)
            # In a rebalance aiokafka has the new partitions a moment before it says so, and reads them from where
            # the group last committed to Kafka: nothing that comes before `_seek` counts.
            if not fetched or self._must_seek or generation != self._generation:
                return None
            spans = {tp: Span(self._next[tp], end_of(found[-1])) for tp, found in fetched.items()}
            self._next.update({tp: span.end for tp, span in spans.items()})
            self._claims.take(lane, spans)
        found = [one for several in fetched.values() for one in several]
        events, malformed = await self._decoder.read([one for one in found if isinstance(one, Record)])
        unread = [_malformation(one) for one in found if isinstance(one, Unreadable)]
        return Batch(spans, events, malformed + unread, generation)

    async def _fetch(self, lane: int) -> dict[Partition, list[Found]]:
        """What there is of the partitions that no other lane has in hand."""
        assigned = self._consumer.assignment()
        mine = [tp for tp in assigned if self._claims.allow(lane, tp.partition)]
        if assigned and not mine:  # the client would read all of them
            return {}
        waits = _POLL_MS if self._joined and len(mine) == len(assigned) else _SHORT_POLL_MS
        polled = await self._consumer.getmany(*mine, timeout_ms=waits, max_records=self._batch_size)
        return {(tp.topic, tp.partition): found for tp, found in polled.items() if found}

    async def _seek(self) -> None:
        """Go to the stored positions; where there is none, to the earliest record."""
        generation = self._generation
        await self.idle()  # what commits now moves a position
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
        """Forget what was read and go back to the stored positions."""
        self._generation += 1
        self._claims.clear()
        self._next = {}
        self._must_seek = True

    async def on_partitions_revoked(  # pyright: ignore[reportIncompatibleMethodOverride] aiokafka awaits it
        self, revoked: Iterable[TopicPartition]
    ) -> None:
        """Stop at once to offer what was read, and wait for the transaction in flight."""
        self.rewind()
        self._joined = False
        await self.idle()
        _log.info("partitions_revoked", count=len(list(revoked)))

    async def on_partitions_assigned(  # pyright: ignore[reportIncompatibleMethodOverride] see above
        self, assigned: Iterable[TopicPartition]
    ) -> None:
        """Go to the stored positions before anything is read."""
        self.rewind()
        self._joined = True
        _log.info("partitions_assigned", count=len(list(assigned)))

    def applied(self, one: Batch) -> None:
        """Note what was committed to PostgreSQL, for `report`."""
        self._handled.update({TopicPartition(*tp): span.end for tp, span in one.spans.items()})

    async def report(self) -> None:
        """Tell Kafka the positions (for its own lag tools; nothing here reads them) and measure the lag."""
        assigned = self._consumer.assignment()
        offsets = {tp: offset for tp, offset in self._handled.items() if tp in assigned}
        telemetry.LAG.clear()  # what another worker reads now is no longer measured here
        for tp, offset in offsets.items():
            telemetry.LAG.labels(tp.topic, str(tp.partition)).set(max(0, (self._consumer.highwater(tp) or 0) - offset))
        if offsets and self._joined:
            try:
                await asyncio.wait_for(self._consumer.commit(offsets), timeout=_COMMIT_SECONDS)
                self._answered = True
            except KafkaError as error:  # in a rebalance a refusal is normal
                self._answered = not isinstance(error, (KafkaConnectionError, NodeNotReadyError, KafkaTimeoutError))
            except TimeoutError:
                self._answered = False

    async def close(self) -> None:
        """Leave the group; bounded, since the client can hang or break when all brokers are down."""
        leaving = asyncio.create_task(self._consumer.stop())
        leaving.add_done_callback(_look)
        await asyncio.wait([leaving], timeout=_CLOSE_SECONDS)

    async def _check_cluster(self) -> None:
        found = await self._broker.cluster_id()
        if found != self._group.cluster_id:
            raise ClusterChangedError(f"the cluster was {self._group.cluster_id} and is {found}")

    async def _lost(self, error: OffsetOutOfRangeError) -> PositionLostError:
        await self._check_cluster()
        found: dict[TopicPartition, int] = error.args[0]
        tp, offset = next(iter(found.items()))
        return PositionLostError(self._explain(tp, offset, "the broker has no such offset"))

    def _explain(self, tp: TopicPartition, offset: int, found: str) -> str:
        return (
            f"{tp.topic} partition {tp.partition}: the stored position {offset} is outside the log ({found}), so "
            f"records are missing; look with `positions list` and decide with "
            f"`positions set {tp.topic} {tp.partition} OFFSET`"
        )


class _Claims:
    """Which lane has batches of which partition numbers in hand, and how many."""

    def __init__(self) -> None:
        self._lanes: dict[int, int] = {}
        self._counts: Counter[int] = Counter()
        self._given_back = asyncio.Event()

    def allow(self, lane: int, number: int) -> bool:
        """Whether a lane may read partitions of a number: nobody else has it in hand."""
        return self._lanes.get(number, lane) == lane

    def take(self, lane: int, partitions: Iterable[Partition]) -> None:
        """A lane has read a batch of these."""
        for number in {number for _, number in partitions}:
            self._lanes[number] = lane
            self._counts[number] += 1

    def give_back(self, partitions: Iterable[Partition]) -> None:
        """A batch of these is applied."""
        for number in {number for _, number in partitions}:
            self._counts[number] -= 1
            if not self._counts[number]:
                del self._lanes[number]
        self._given_back.set()

    def clear(self) -> None:
        """What is in hand is stale."""
        self._lanes.clear()
        self._counts.clear()
        self._given_back.set()

    async def some_open(self, lane: int, assigned: Collection[TopicPartition]) -> None:
        """Wait until a lane may read some of what is assigned, if anything is."""
        while assigned and not any(self.allow(lane, tp.partition) for tp in assigned):
            self._given_back.clear()
            await self._given_back.wait()


class _Gauge:
    """How many are at something; others can wait until nobody is."""

    def __init__(self) -> None:
        self._count = 0
        self._none = asyncio.Event()
        self._none.set()

    @contextmanager
    def one(self) -> Generator[None]:
        """Be at it."""
        self._count += 1
        self._none.clear()
        try:
            yield
        finally:
            self._count -= 1
            if not self._count:
                self._none.set()

    async def none(self) -> None:
        """Wait until nobody is."""
        await self._none.wait()


def _look(leaving: asyncio.Task[None]) -> None:
    """Whether or not it left in order, the broker soon finds it gone."""
    if not leaving.cancelled() and (error := leaving.exception()):
        _log.warning("group_was_not_left", failure=type(error).__name__, error=str(error))


def _malformation(found: Unreadable) -> Malformation:
    return Malformation(found.record, Reason.NOT_A_CLOUDEVENT, found.error)
