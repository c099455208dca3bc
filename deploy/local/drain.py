"""Waits until all published events, and all events that follow from them, are handled.

The log end that a broker reports is not reliable everywhere: the embedded broker counts batches, not records. So a
marker, an event of an unknown type, is published to every partition that a service reads. When a service's position is
after the marker, it has handled everything before it. Then the outboxes must become empty and due work be done. Events
published meanwhile follow the markers, so another round waits for them, until the new markers directly follow the old.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import uuid_utils
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.structs import RecordMetadata
from pydantic_core import to_json

from deploy.local.program import StartError
from deploy.local.readers import UNREACHABLE, Partition, Reader, broker_of, open_readers
from shared.contracts.envelope import STRUCTURED
from shared.messaging.kafka import Broker

MARKER: Final = "wafa.marker.v1"
POLL_SECONDS: Final = 0.1


class DrainTimeoutError(Exception):
    """Something was not handled in time; the message names it."""


@dataclass(frozen=True)
class Left:
    """Remaining work of a service."""

    service: str
    count: int
    what: str

    def __str__(self) -> str:
        return f"{self.service} has {self.count:,} {self.what}"


Report = Callable[[Sequence[Left]], None]
"""Called with the remaining work while waiting."""


async def drain(env: Mapping[str, str], seconds: float, report: Report = lambda _left: None) -> int:
    """Wait until nothing is left to do; returns the number of rounds.

    Raises:
        DrainTimeoutError: work is left after `seconds`.
        StartError: the broker or a database does not answer.
    """
    broker = broker_of(env)
    try:
        async with open_readers(broker) as readers:
            return await drain_readers(broker, readers, seconds, report)
    except (*UNREACHABLE, KafkaError) as error:
        raise StartError(f"the stack does not answer: {error or type(error).__name__}") from error


async def drain_readers(
    broker: Broker, readers: Sequence[Reader], seconds: float, report: Report = lambda _left: None
) -> int:
    """Wait until these services have nothing left to do; returns the number of rounds.

    Raises:
        DrainTimeoutError: work is left after `seconds`.
    """
    patience = _Patience(time.monotonic() + seconds, report)
    producer = broker.producer()
    await producer.start()
    try:
        return await _rounds(producer, readers, patience)
    finally:
        await producer.stop()


async def _rounds(producer: AIOKafkaProducer, readers: Sequence[Reader], patience: "_Patience") -> int:
    before: dict[Partition, int] = {}
    rounds = 0
    while True:
        rounds += 1
        markers = await mark(producer, sorted({topic for reader in readers for topic in reader.topics}))
        await patience.until_none(lambda markers=markers: behind(readers, markers))
        await patience.until_none(lambda: unpublished(readers))
        if {place: offset + 1 for place, offset in before.items()} == markers:
            return rounds
        before = markers


async def mark(producer: AIOKafkaProducer, topics: Sequence[str]) -> dict[Partition, int]:
    """Publish a marker to every partition of the topics; returns their offsets."""
    now = datetime.now(UTC).isoformat()
    headers = [("content-type", STRUCTURED)]
    sent: list[Awaitable[RecordMetadata]] = []
    for topic in topics:
        for partition in sorted(await producer.partitions_for(topic)):
            event = {"specversion": "1.0", "id": str(uuid_utils.uuid7()), "source": "/wafa/local", "type": MARKER}
            value = to_json({**event, "time": now, "data": {}})
            sent.append(await producer.send(topic, value, partition=partition, headers=headers))
    return {(done.topic, done.partition): done.offset for done in await asyncio.gather(*sent)}


async def behind(readers: Sequence[Reader], markers: Mapping[Partition, int]) -> list[Left]:
    """The records before a marker that are not handled, by service and topic."""
    stored = await asyncio.gather(*(reader.positions() for reader in readers))
    return [
        Left(reader.service, count, f"records of {topic} to handle")
        for reader, positions in zip(readers, stored, strict=True)
        for topic in reader.topics
        if (count := _missing(topic, markers, positions))
    ]


async def unpublished(readers: Sequence[Reader]) -> list[Left]:
    """The work that is due, and the events that are not published yet."""
    # In this order: due work writes its events to the outbox in its own transaction.
    due = await asyncio.gather(*(reader.due_work() for reader in readers))
    outboxes = await asyncio.gather(*(reader.outbox() for reader in readers))
    left = [Left(reader.service, count, "events to publish") for reader, count in zip(readers, outboxes, strict=True)]
    left += [
        Left(reader.service, count, name)
        for reader, work in zip(readers, due, strict=True)
        for name, count in work.items()
    ]
    return [backlog for backlog in left if backlog.count]


def _missing(topic: str, markers: Mapping[Partition, int], positions: Mapping[Partition, int]) -> int:
    """Number of unhandled records of a topic up to its markers, including the markers."""
    return sum(max(0, offset + 1 - positions.get(place, 0)) for place, offset in markers.items() if place[0] == topic)


@dataclass(frozen=True)
class _Patience:
    deadline: float
    report: Report

    async def until_none(self, ask: Callable[[], Awaitable[list[Left]]]) -> None:
        """Poll until nothing is left."""
        while left := await ask():
            if time.monotonic() > self.deadline:
                raise DrainTimeoutError("; ".join(str(backlog) for backlog in left))
            self.report(left)
            await asyncio.sleep(POLL_SECONDS)
