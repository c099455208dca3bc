"""Applies batches to a database, and reads their results."""

from datetime import UTC, datetime
from fractions import Fraction
from typing import Any, NamedTuple

import asyncpg
from pydantic_core import from_json

from services.tiers.handlers.events import handle
from services.tiers.handlers.standing import read
from services.tiers.rules.program.compiled import Tier
from services.tiers.store.programs import Programs
from shared.contracts.envelope import Event
from shared.contracts.outcomes import Refusal
from shared.contracts.values import UNITS

NOW = datetime(2030, 1, 1, tzinfo=UTC)


async def apply(pool: asyncpg.Pool, *events: Event, now: datetime = NOW) -> list[Refusal]:
    """One batch, in a transaction of its own."""
    async with pool.acquire() as connection, connection.transaction():
        return await handle(connection, events, now)


async def published(pool: asyncpg.Pool) -> list[dict[str, Any]]:
    """The events in the outbox, in their order."""
    return [from_json(row["value"]) for row in await pool.fetch("SELECT value FROM outbox ORDER BY id")]


async def timeline(pool: asyncpg.Pool, customer_id: str = "ann") -> list[tuple[datetime, str]]:
    """A customer's timeline as it is stored."""
    rows = await pool.fetch(
        "SELECT effective_at, tier FROM timeline WHERE customer_id = $1 ORDER BY effective_at", customer_id
    )
    return [(row["effective_at"], row["tier"]) for row in rows]


def announced(event: dict[str, Any]) -> tuple[str, str, str, list[tuple[datetime, str]]]:
    """The verb, the tiers from and to, and the timeline of a published event."""
    data = event["data"]
    assert data["effective_at"] == data["timeline"][0]["effective_at"]
    entries = [(datetime.fromisoformat(entry["effective_at"]), entry["tier"]) for entry in data["timeline"]]
    return event["type"].removeprefix("loyalty.tier.").removesuffix(".v1"), data["from"], data["to"], entries


class Standing(NamedTuple):
    """A customer's tier as a read sees it, with the spend in whole units of the currency."""

    tier: Tier
    since: datetime | None
    spend: Fraction


async def read_status(pool: asyncpg.Pool, customer_id: str, now: datetime) -> Standing:
    """A customer's tier as of an instant."""
    cached = Programs()
    async with pool.acquire() as connection:
        await cached.load(connection)
    status = (await read(pool, cached, customer_id, now)).status
    return Standing(status.tier, status.standing.since, Fraction(status.values.get("spend", 0)) / UNITS)
