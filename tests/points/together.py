"""Tiers and points together, without Kafka: a test decides when points get the events of tiers."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from services.tiers.handlers import events as tiers
from shared.contracts.envelope import Event, Record, decode
from shared.contracts.registry import TYPES
from shared.postgres.pool import Pool
from tests.points import books


@dataclass
class Together:
    """The databases of both services; `behind` has the events of tiers that points has not read."""

    points: Pool
    tiers: Pool
    now: datetime
    behind: deque[Event] = field(default_factory=deque)
    _read: int = 0

    async def deliver(self, *events: Event) -> None:
        """Deliver a batch of the shop's events to both services."""
        await self.deliver_to_tiers(*events)
        await books.deliver(self.points, *events, now=self.now)

    async def deliver_to_tiers(self, *events: Event) -> None:
        """Deliver a batch to tiers alone."""
        async with self.tiers.acquire() as connection, connection.transaction():
            assert await tiers.handle(connection, events, self.now) == []
        rows = await self.tiers.fetch("SELECT id, key, value FROM outbox WHERE id > $1 ORDER BY id", self._read)
        for row in rows:
            self._read = row["id"]
            headers = ((b"content-type", b"application/cloudevents+json"),)
            record = Record("loyalty.tiers", 0, row["id"], row["key"], row["value"], headers, self.now)
            event = decode(record, frozenset(TYPES))
            assert event is not None
            self.behind.append(event)

    async def catch_up(self, count: int | None = None) -> None:
        """Deliver `count` events of tiers to points, in order; None: all."""
        count = len(self.behind) if count is None else min(count, len(self.behind))
        if count:
            await books.deliver(self.points, *(self.behind.popleft() for _ in range(count)), now=self.now)

    async def in_order(self, events: Sequence[Event]) -> None:
        """Deliver events one by one in the order of their times."""
        for event in sorted(events, key=lambda event: event.time):
            await self.deliver_to_tiers(event)
            await self.catch_up()
            await books.deliver(self.points, event, now=self.now)
