"""A simulated broker: partitions with gaps in their offsets, and consumer groups with random assignments."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final, NamedTuple
from zlib import crc32

from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from shared.contracts.envelope import Headers, Record, from_milliseconds
from shared.messaging.record_batches import Fetched, Unreadable
from tests.simulation.loop import Loop, running

CLUSTER: Final = "simulated"
START: Final = datetime(2026, 6, 1, 12, tzinfo=UTC)
SESSION_SECONDS: Final = 3.0
"""Session timeout of a member, and the maximum wait for it in a rebalance."""

_LATENCIES: Final = (0.0, 0.0, 0.001, 0.004, 0.02)


class Kept(NamedTuple):
    """A record in the log; `timestamp` is in milliseconds.

    `width` is 0 for a readable record; otherwise it is the number of offsets that an unreadable one takes.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp: int
    width: int = 0

    @property
    def end(self) -> int:
        """The offset after it."""
        return self.offset + max(1, self.width)

    def fetched(self) -> Fetched:
        """The record as the client returns it."""
        record = Record(*self[:6], from_milliseconds(self.timestamp))
        return Unreadable(record, "simulated: it cannot be read", self.end) if self.width else record


@dataclass
class Log:
    """A partition; `end` is after its last record, and after the markers and aborted records behind that."""

    records: list[Kept] = field(default_factory=list)
    end: int = 0

    @property
    def handled(self) -> int | None:
        """The position after every record; None without records."""
        return self.records[-1].end if self.records else None


@dataclass(eq=False)
class Member:
    """A consumer in its group."""

    name: str
    topics: tuple[str, ...]
    beat: float
    joined: asyncio.Future[list[TopicPartition]] | None = None
    generation: int = -1


class Group:
    """A consumer group. A rebalance waits for each member, at most for its session timeout."""

    def __init__(self, broker: "Broker", name: str) -> None:
        self.committed: dict[TopicPartition, int] = {}
        self.members: list[Member] = []
        self.generation = 0
        self.preparing_since: float | None = None
        self._broker = broker
        self._name = name

    def upset(self, why: str) -> None:
        """Begin a rebalance, unless there is one already."""
        if self.preparing_since is None:
            self.preparing_since = self._broker.loop.time()
            self._broker.note(f"{self._name}: rebalance, {why}")

    def is_current(self, member: Member) -> bool:
        """Whether the member has the assignment of the current generation."""
        return member in self.members and member.generation == self.generation and self.preparing_since is None

    def join(self, member: Member) -> asyncio.Future[list[TopicPartition]]:
        """The member's partitions in the next generation, once all members have joined."""
        if member not in self.members:
            self.members.append(member)
        self.upset(f"{member.name} joins")
        member.beat = self._broker.loop.time()
        joined = member.joined = self._broker.loop.create_future()
        self.look()
        return joined

    def leave(self, member: Member, why: str = "leaves") -> None:
        """Remove a member."""
        if member in self.members:
            self.members.remove(member)
            self.upset(f"{member.name} {why}")
            self.look()

    def look(self) -> None:
        """End the rebalance if all members have joined."""
        if self.preparing_since is not None and self.members and all(member.joined for member in self.members):
            self.generation += 1
            self.preparing_since = None
            for member, places in self._shares().items():
                member.generation, member.beat = self.generation, self._broker.loop.time()
                joined, member.joined = member.joined, None
                assert joined is not None
                if not joined.done():
                    joined.set_result(places)

    def expire(self) -> None:
        """Remove members whose session has expired."""
        now = self._broker.loop.time()
        for member in list(self.members):
            if member.joined is None and now - max(member.beat, self.preparing_since or 0.0) > SESSION_SECONDS:
                self.leave(member, "was silent")

    def _shares(self) -> Mapping[Member, list[TopicPartition]]:
        """Assign the partitions to members at random."""
        members = self._broker.chance.sample(self.members, len(self.members))
        wanted = sorted({topic for member in members for topic in member.topics})
        places = [TopicPartition(topic, number) for topic in wanted for number in range(self._broker.partitions)]
        shares: dict[Member, list[TopicPartition]] = {member: [] for member in members}
        for index, place in enumerate(places):
            shares[members[index % len(members)]].append(place)
        return shares


class Broker:
    """The broker; while it is not `up` it does not answer, but keeps its data."""

    def __init__(self, loop: Loop, chance: Random, partitions: int) -> None:
        self.loop = loop
        self.chance = chance
        self.partitions = partitions
        self.up = True
        self.fails: Callable[[str], bool] = lambda _what: False
        """Whether a request fails while the broker is up."""
        self.gaps = 0.1
        self.logs: dict[TopicPartition, Log] = {}
        self.groups: dict[str, Group] = {}
        self._arrivals: list[asyncio.Future[None]] = []

    def note(self, what: str) -> None:
        """Add a line to the trace."""
        self.loop.trace.note(self.loop.time(), running(), what)

    def now(self) -> datetime:
        """The wall clock."""
        return START + timedelta(seconds=self.loop.time())

    def log(self, place: TopicPartition) -> Log:
        """A partition, created on demand."""
        return self.logs.setdefault(place, Log())

    def group(self, name: str) -> Group:
        """A group, created on demand."""
        return self.groups.setdefault(name, Group(self, name))

    def place_of(self, topic: str, key: bytes | None) -> TopicPartition:
        """The partition of a key."""
        return TopicPartition(topic, crc32(key or b"") % self.partitions)

    def append(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers, width: int = 0) -> Kept:
        """Append a record, sometimes followed by a gap of transaction markers or aborted records."""
        place = self.place_of(topic, key)
        log = self.log(place)
        moment = int(self.now().timestamp() * 1000)
        kept = Kept(topic, place.partition, log.end, key, value, headers, moment, width)
        log.records.append(kept)
        log.end = kept.end
        if self.chance.random() < self.gaps:
            log.end += self.chance.randint(1, 3)
        arrivals, self._arrivals = self._arrivals, []
        for arrival in arrivals:
            if not arrival.done():
                arrival.set_result(None)
        return kept

    async def arrival(self, seconds: float) -> None:
        """Wait until a record is appended, at most `seconds`."""
        waiter = self.loop.create_future()
        self._arrivals.append(waiter)
        await asyncio.wait([waiter], timeout=seconds)
        waiter.cancel()

    async def reach(self, what: str) -> None:
        """Simulate the network delay of a request to the broker, or of its answer.

        Raises:
            KafkaConnectionError: it is down, or the connection breaks.
        """
        await asyncio.sleep(self.chance.choice(_LATENCIES))
        if not self.up or self.fails(what):
            raise KafkaConnectionError(f"simulated: {what}")

    async def watch_members(self) -> None:
        """Expire members' sessions, for ever."""
        while True:
            await asyncio.sleep(SESSION_SECONDS / 6)
            for group in self.groups.values():
                if self.up:
                    group.expire()

    async def cluster_id(self) -> str:
        """The id of the cluster."""
        await self.reach("cluster id")
        return CLUSTER
