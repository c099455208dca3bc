"""Batches for tests, and a handler whose effects can be counted."""

import asyncio
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from shared.contracts.envelope import Event, Record, decode
from shared.contracts.outcomes import Refusal
from shared.contracts.reasons import Reason
from shared.messaging.batch import Batch, Here, Malformation, Span
from shared.messaging.delivery import Delivery
from shared.messaging.positions import Group
from shared.postgres.pool import Connection, Pool
from tests.contracts.records import EVERY_TYPE, STRUCTURED
from tests.support.headers import in_bytes

TOPIC = "shop.purchases"
GROUP = Group("cluster-1", "wafa-test")
ARRIVED = datetime(2026, 6, 1, 12, tzinfo=UTC)
NOW = datetime(2026, 6, 1, 12, 0, 1, tzinfo=UTC)


def purchase(id_: str, customer: str = "c1", order: str | None = None, **changes: Any) -> dict[str, Any]:
    """A purchase as a CloudEvent."""
    data = {"customer_id": customer, "order_id": order or id_, "currency": "USD", "total": "10.00", **changes}
    return {
        "specversion": "1.0",
        "id": id_,
        "source": "/shop",
        "type": "shop.purchase.completed.v1",
        "time": "2026-06-01T10:00:00Z",
        "data": data,
    }


def record(value: dict[str, Any] | bytes | None, offset: int = 0, partition: int = 0) -> Record:
    """The record of an event (keyed by its customer), or of raw bytes."""
    key = value["data"]["customer_id"].encode() if isinstance(value, dict) else b"c1"
    raw = json.dumps(value).encode() if isinstance(value, dict) else value
    return Record(TOPIC, partition, offset, key, raw, in_bytes([STRUCTURED]), ARRIVED)


def event(value: dict[str, Any], offset: int = 0) -> Event:
    """An event by itself."""
    decoded = decode(record(value, offset), EVERY_TYPE)
    assert decoded is not None
    return decoded


async def batch(values: Iterable[dict[str, Any] | bytes], start: int | None = None, partition: int = 0) -> Batch:
    """A batch of one partition from `start` on (None: its first)."""
    records = [record(value, (start or 0) + index, partition) for index, value in enumerate(values)]
    events, malformed = await Here(EVERY_TYPE).read(records)
    return Batch({(TOPIC, partition): Span(start, (start or 0) + len(records))}, events, malformed, 0)


def fresh(_: Batch) -> bool:
    """No batch is stale."""
    return False


EFFECT_SQL = "INSERT INTO effect (id, customer_id) SELECT * FROM unnest($1::text[], $2::text[])"


@dataclass(slots=True)
class Handler:
    """Writes a row per event. `breaks` raises for an event, `refuses` has its rules refuse it."""

    breaks: Callable[[Event], Exception | None] = lambda _: None
    refuses: Callable[[Event], bool] = lambda _: False
    calls: list[list[str]] = field(default_factory=list)

    async def __call__(self, connection: Connection, events: Sequence[Event], _now: datetime) -> list[Refusal]:
        self.calls.append([item.id for item in events])
        refused = [item for item in events if self.refuses(item)]
        kept = [item for item in events if item not in refused]
        await connection.execute(EFFECT_SQL, [item.id for item in kept], [item.customer_id for item in kept])
        for item in kept:
            if error := self.breaks(item):
                raise error
        return [Refusal(item, Reason.ORDER_CONFLICT, "another shop has it") for item in refused]


@dataclass(slots=True)
class Desk:
    """A delivery with its handler on a database, and queries for the results."""

    pool: Pool
    handler: Handler = field(default_factory=Handler)
    delivery: Delivery = field(init=False)

    def __post_init__(self) -> None:
        self.delivery = Delivery(self.pool, GROUP, self.handler, lambda: NOW)

    async def deliver(self, values: Iterable[dict[str, Any] | bytes], start: int | None = None) -> bool:
        """Deliver a batch of partition 0 from `start` on."""
        return await asyncio.wait_for(self.delivery.deliver(await batch(values, start), fresh), 30)

    async def effects(self) -> list[str]:
        """The ids of the events that had their effect, in order."""
        return [row[0] for row in await self.pool.fetch("SELECT id FROM effect ORDER BY number")]

    async def inbox(self) -> int:
        """Number of events in the inbox."""
        return await self.pool.fetchval("SELECT count(*) FROM inbox")

    async def letters(self) -> list[tuple[int, str]]:
        """Offset and reason of each dead letter."""
        return [tuple(row) for row in await self.pool.fetch('SELECT "offset", reason FROM dead_letter ORDER BY id')]

    async def position(self) -> int | None:
        """The next offset of partition 0."""
        return await self.pool.fetchval("SELECT next_offset FROM position WHERE topic = $1 AND partition = 0", TOPIC)


def malformation(refused: Record, error: str = "broken") -> Malformation:
    """A refused record."""
    return Malformation(refused, Reason.NOT_JSON, error)


async def wait_until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    """Poll until a condition is true, at most `seconds`."""
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110 - the condition has no event to wait for
            await asyncio.sleep(0.01)
