"""Reads the log: every record of every topic, as consumers see it."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from aiokafka import TopicPartition

from deploy.topics import PARTITIONS
from shared.contracts import topics
from shared.contracts.envelope import Event, Record, decode
from shared.contracts.reasons import Malformed, Reason
from shared.contracts.registry import TYPES
from shared.messaging.fetching import Consumer
from shared.messaging.record_batches import Fetched, Unreadable
from tests.prove.items import MARK

_EVERY: Final = frozenset(TYPES)
_UNREAD: Final = frozenset({topics.MESSAGES})
"""A topic that no service reads: only its bytes are compared."""


@dataclass(frozen=True, slots=True)
class Read:
    """A record of the log: an event, the reason why it is malformed, or (a marker) neither."""

    record: Record
    event: Event | None
    reason: Reason | None
    number: int | None
    """The number of its item, if it is from the history."""
    is_unreadable: bool = False
    """Whether even its fields are unreadable."""

    @property
    def place(self) -> tuple[str, int, int]:
        """Topic, partition, offset."""
        return self.record.topic, self.record.partition, self.record.offset


@dataclass(slots=True)
class Log:
    """All topics, with their records by partition and offset."""

    by_topic: Mapping[str, Sequence[Read]]
    _by_customer: dict[str, dict[str, list[Event]]] = field(default_factory=dict, init=False)

    def all(self) -> Iterator[Read]:
        """Every record."""
        for records in self.by_topic.values():
            yield from records

    def events(self, topic: str) -> list[Event]:
        """The events of a topic."""
        return [item.event for item in self.by_topic.get(topic, ()) if item.event is not None]

    def of_customers(self, topic: str) -> Mapping[str, list[Event]]:
        """The events of a topic by customer, each in the order of the log."""
        if topic not in self._by_customer:
            by_customer: defaultdict[str, list[Event]] = defaultdict(list)
            for event in self.events(topic):
                by_customer[event.customer_id].append(event)
            self._by_customer[topic] = by_customer
        return self._by_customer[topic]


async def read(bootstrap: str) -> Log:
    """Read all records that consumers can see."""
    consumer = Consumer(
        bootstrap_servers=bootstrap,
        enable_auto_commit=False,
        isolation_level="read_committed",
        max_partition_fetch_bytes=8 * 2**20,
    )
    await consumer.start()
    try:
        places = [TopicPartition(topic, number) for topic in topics.ALL for number in range(PARTITIONS)]
        consumer.assign(places)
        starts, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
        for place in places:
            consumer.seek(place, starts[place])
        fetched: list[Fetched] = []
        while [place for place in places if await consumer.position(place) < ends[place]]:
            for records in (await consumer.getmany(timeout_ms=1000, max_records=20_000)).values():
                fetched += records
    finally:
        await consumer.stop()
    return arranged(fetched)


def arranged(fetched: Iterable[Fetched]) -> Log:
    """The log of records in any order."""
    by_topic: defaultdict[str, list[Read]] = defaultdict(list)
    for item in sorted(map(_read, fetched), key=lambda item: item.place):
        by_topic[item.record.topic].append(item)
    return Log(by_topic)


def _read(fetched: Fetched) -> Read:
    if isinstance(fetched, Unreadable):
        return Read(fetched.record, None, Reason.NOT_A_CLOUDEVENT, None, is_unreadable=True)
    record = fetched
    if record.topic in _UNREAD:
        return Read(record, None, None, None)
    mark = dict(record.headers).get(MARK.encode())
    number = None if mark is None else int(mark)
    try:
        return Read(record, decode(record, _EVERY), None, number)
    except Malformed as error:
        return Read(record, None, error.reason, number)
