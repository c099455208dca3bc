"""A consumer of the simulated broker, with the interface and behavior of aiokafka's that the product uses."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from typing import Any, Final

from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    ConsumerStoppedError,
    IllegalStateError,
    KafkaConnectionError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)

from shared.messaging.record_batches import Fetched
from tests.simulation.broker import SESSION_SECONDS, Broker, Group, Member
from tests.simulation.loop import running

_BEAT: Final = SESSION_SECONDS / 5


class Consumer:
    """Reads its partitions until it is told that it lost them; the broker does not check its positions."""

    def __init__(self, broker: Broker, group: str) -> None:
        self._broker = broker
        self._group: Group = broker.group(group)
        self._listener: Any = None
        self._topics: tuple[str, ...] = ()
        self._places: dict[TopicPartition, int | None] = {}
        self._reassigned = asyncio.Event()
        self._reassigned.set()
        self._member: Member | None = None
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def start(self) -> None:
        await self._broker.reach("start")

    def subscribe(self, topics: Iterable[str], listener: ConsumerRebalanceListener) -> None:
        self._topics, self._listener = tuple(topics), listener
        self._task = asyncio.create_task(self._belong(), name="membership")

    def assignment(self) -> set[TopicPartition]:
        return set(self._places)

    def highwater(self, place: TopicPartition) -> int | None:
        return self._broker.log(place).end

    def seek(self, place: TopicPartition, offset: int) -> None:
        if place not in self._places:
            raise IllegalStateError(f"{place} is not assigned")
        self._places[place] = offset

    async def beginning_offsets(self, places: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        await self._broker.reach("beginning offsets")
        return dict.fromkeys(places, 0)

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        await self._broker.reach("commit offsets")
        if self._member is None or not self._group.is_current(self._member):
            raise CommitFailedError
        self._group.committed.update(offsets)
        await self._broker.reach("commit offsets")

    async def getmany(
        self, *wanted: TopicPartition, timeout_ms: int, max_records: int
    ) -> dict[TopicPartition, list[Fetched]]:
        deadline = self._broker.loop.time() + timeout_ms / 1000
        while True:
            if self._closed:
                raise ConsumerStoppedError
            if not self._reassigned.is_set():
                await self._reassigned.wait()
            await asyncio.sleep(self._broker.chance.choice((0.0, 0.0, 0.0, 0.002)))
            taken = self._take(wanted, max_records) if self._broker.up and self._reassigned.is_set() else {}
            left = deadline - self._broker.loop.time()
            if taken or left <= 0:
                return taken
            await self._broker.arrival(left)

    def _take(self, wanted: Sequence[TopicPartition], most: int) -> dict[TopicPartition, list[Fetched]]:
        """Some records of the given partitions, or of any where none is given."""
        fetched: dict[TopicPartition, list[Fetched]] = {}
        chance = self._broker.chance
        places = sorted(place for place in self._places if not wanted or place in wanted)
        for place in chance.sample(places, len(places)):
            position = self._places[place]
            if position is None:
                if chance.random() < 0.5:
                    raise NoOffsetForPartitionError(place)
                continue
            log = self._broker.log(place)
            if position > log.end:
                raise OffsetOutOfRangeError({place: position})
            records = [record for record in log.records if record.offset >= position][
                : min(most, chance.randint(1, 20))
            ]
            if records:
                fetched[place] = [record.fetched() for record in records]
                self._places[place] = records[-1].end
                most -= len(records)
            if most <= 0 or (fetched and chance.random() < 0.7):
                break
        return fetched

    async def stop(self) -> None:
        self._closed = True
        self._reassigned.set()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if self._member is not None and self._broker.up:
            self._group.leave(self._member)

    async def _belong(self) -> None:
        """Join the group, send heartbeats, and join again when it rebalances."""
        for number in count():
            member = Member(f"{running()}.{number}", self._topics, self._broker.loop.time())
            await self._join(member)
            while True:
                await asyncio.sleep(_BEAT)
                try:
                    await self._broker.reach("heartbeat")
                except KafkaConnectionError:
                    continue
                if member not in self._group.members:
                    break  # the group expired this member: it joins again as a new one
                member.beat = self._broker.loop.time()
                if not self._group.is_current(member):
                    await self._join(member)

    async def _join(self, member: Member) -> None:
        self._reassigned.clear()
        await self._listener.on_partitions_revoked(set(self._places))
        while True:
            try:
                await self._broker.reach("join")
                break
            except KafkaConnectionError:
                await asyncio.sleep(_BEAT)
        places = await self._group.join(member)
        self._member = member
        self._places = {place: self._group.committed.get(place) for place in places}
        self._reassigned.set()
        # Records can already be fetched in the moment before the listener is called.
        await asyncio.sleep(self._broker.chance.choice((0.0, 0.001, 0.01)))
        await self._listener.on_partitions_assigned(set(places))
