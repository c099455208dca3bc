"""Publishes many events to Kafka quickly, and waits for every acknowledgement."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.producer.message_accumulator import BatchBuilder

from deploy.sample.cloudevent import HEADERS, CloudEvent

CHUNK: Final = 2_000
"""Number of events that are encoded while the previous chunk is in flight."""

_BATCH_BYTES: Final = 512 * 1024


class Publisher:
    """Collects events into batches per partition: twice the rate of one `send` per event.

    Keys are hashed as Java's client does (murmur2), so a customer stays on one partition, in order.
    """

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer
        self._choose = DefaultPartitioner()
        self._places: dict[tuple[str, bytes], tuple[str, int]] = {}

    async def publish(self, events: Iterable[CloudEvent], acknowledged: Callable[[list[CloudEvent]], None]) -> None:
        """Publish all events; `acknowledged` is called with each chunk when all of it is acknowledged.

        Raises:
            KafkaError: the broker refused an event; acknowledged chunks are published nevertheless.
        """
        source = iter(events)
        sent: tuple[list[CloudEvent], list[asyncio.Future[object]]] = ([], [])
        while chunk := list(islice(source, CHUNK)):
            acknowledgements = await self.send_all(chunk)
            await self._settle(sent, acknowledged)
            sent = (chunk, acknowledgements)
        await self._settle(sent, acknowledged)

    async def send(self, event: CloudEvent) -> asyncio.Future[object]:
        """Send a single event at once; the future is its acknowledgement."""
        return await self._producer.send(event.topic, event.value(), key=event.key, headers=HEADERS)

    async def _settle(
        self,
        sent: tuple[list[CloudEvent], list[asyncio.Future[object]]],
        acknowledged: Callable[[list[CloudEvent]], None],
    ) -> None:
        chunk, acknowledgements = sent
        await asyncio.gather(*acknowledgements)
        if chunk:
            acknowledged(chunk)

    async def send_all(self, chunk: Sequence[CloudEvent]) -> list[asyncio.Future[object]]:
        """Send events together, at once; the futures are their acknowledgements, one for each batch."""
        open_: dict[tuple[str, int], BatchBuilder] = {}
        acknowledgements: list[asyncio.Future[object]] = []
        for event in chunk:
            key, value = event.key, event.value()
            place = self._places.get((event.topic, key)) or await self._place(event.topic, key)
            batch = open_.get(place)
            if batch is None:
                batch = open_[place] = self._producer.create_batch()
            if batch.append(key=key, value=value, timestamp=None, headers=HEADERS) is None:
                acknowledgements.append(await self._producer.send_batch(batch, place[0], partition=place[1]))
                batch = open_[place] = self._producer.create_batch()
                batch.append(key=key, value=value, timestamp=None, headers=HEADERS)
        for (topic, partition), batch in open_.items():
            acknowledgements.append(await self._producer.send_batch(batch, topic, partition=partition))
        return acknowledgements

    async def _place(self, topic: str, key: bytes) -> tuple[str, int]:
        """The topic and partition of a customer; cached, since the hash is slow and customers repeat."""
        partitions = sorted(await self._producer.partitions_for(topic))
        place = self._places[topic, key] = (topic, self._choose(key, partitions, partitions))
        return place


@asynccontextmanager
async def connect(bootstrap: str, *, idempotent: bool) -> AsyncIterator[Publisher]:
    """A publisher with `acks=all`; `idempotent` if the broker supports it (the embedded broker does not)."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        client_id="wafa-sample",
        acks="all",
        enable_idempotence=idempotent,
        max_batch_size=_BATCH_BYTES,
        max_request_size=4 * _BATCH_BYTES,
        request_timeout_ms=30_000,
    )
    await producer.start()
    try:
        yield Publisher(producer)
    finally:
        await producer.stop()
