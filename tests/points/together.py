"""Tiers and points together, without Kafka: what tiers publish is told to points, as late as a test likes."""

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
    """The databases of both services; `behind` is what tiers published and points did not read yet."""

    points: Pool
    tiers: Pool
    now: datetime
    behind: deque[Event] = field(default_factory=deque)
    _read: int = 0

    async def tell(self, *events: Event) -> None:
        """A batch of the shop's events, which both services handle."""
        await self.tell_tiers(*events)
        await books.deliver(self.points, *events, now=self.now)

    async def tell_tiers(self, *events: Event) -> None:
        """The same for tiers alone."""
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
        """Let points read what tiers published, in its order: so many events, or all."""
        count = len(self.behind) if count is None else min(count, len(self.behind))
        if count:
            await books.deliver(self.points, *(self.behind.popleft() for _ in range(count)), now=self.now)

    async def in_order(self, events: Sequence[Event]) -> None:
        """Tell events one by one in the order of their times; nothing is late."""
        for event in sorted(events, key=lambda one: one.time):
            await self.tell_tiers(event)
            await self.catch_up()
            await books.deliver(self.points, event, now=self.now)
