"""Publishes a history at a pace, and tracks the acknowledgements."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from tests.prove.items import Item

_MOST_IN_FLIGHT: Final = 8_000
_STEP: Final = 0.05
Partition = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Pace:
    """Records per second; after every `burst_every` records, a burst of `burst`."""

    rate: float = 300.0
    burst: int = 3_000
    burst_every: int = 14_000


@dataclass(slots=True)
class Publisher:
    """Publishes items in order; `acknowledged` has the end of each partition."""

    producer: AIOKafkaProducer
    items: Sequence[Item]
    begin: datetime
    pace: Pace
    published: int = 0
    repeated: int = 0
    """Number of records that were sent again after an unknown outcome."""
    acknowledged: dict[Partition, int] = field(default_factory=dict)
    _in_flight: deque[tuple[Item, asyncio.Future[Any]]] = field(default_factory=deque)

    async def run(self, may_go_on: Callable[[int], bool]) -> None:
        """Publish all items; at a tenth of the pace while `may_go_on` (of the number published) is false."""
        allowance, before, burst_at = 0.0, time.monotonic(), self.pace.burst_every
        while self.published < len(self.items):
            now = time.monotonic()
            rate = self.pace.rate if may_go_on(self.published) else self.pace.rate / 10
            allowance += (now - before) * rate
            before = now
            if self.published >= burst_at:
                allowance += self.pace.burst
                burst_at += self.pace.burst_every
            count = min(int(allowance), len(self.items) - self.published)
            allowance -= count
            for item in self.items[self.published : self.published + count]:
                await self._send(item)
            self.published += count
            await self._settle(_MOST_IN_FLIGHT)
            await asyncio.sleep(_STEP)
        await self._settle(0)

    async def _send(self, item: Item) -> None:
        key, value, headers = item.record(self.begin)
        sent = await self.producer.send(item.event.topic, value, key=key, headers=list(headers))
        self._in_flight.append((item, sent))

    async def _settle(self, most: int) -> None:
        """Note acknowledgements; wait while more than `most` records are in flight."""
        while self._in_flight and (len(self._in_flight) > most or self._in_flight[0][1].done()):
            item, sent = self._in_flight.popleft()
            try:
                metadata = await sent
            except KafkaError:
                self.repeated += 1
                await self._send(item)
            else:
                place = (metadata.topic, metadata.partition)
                self.acknowledged[place] = max(self.acknowledged.get(place, 0), metadata.offset + 1)


@asynccontextmanager
async def connected(bootstrap: str) -> AsyncIterator[AIOKafkaProducer]:
    """An idempotent producer that survives a restart of the broker."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        client_id="prove",
        acks="all",
        enable_idempotence=True,
        linger_ms=5,
        request_timeout_ms=60_000,
    )
    await producer.start()
    try:
        yield producer
    finally:
        await _within(producer.stop(), 10.0)


async def _within(work: Awaitable[None], seconds: float) -> None:
    try:
        await asyncio.wait_for(work, seconds)
    except TimeoutError:
        return
