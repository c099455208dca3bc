"""The books of a database: events delivered as a worker does, and the results."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic_core import from_json

from services.points.handlers import adjusting, events, verifying
from services.points.handlers.adjusting import Adjustment
from services.points.handlers.balances import balance
from services.points.handlers.commands import Call
from services.points.rules.ledger.transactions import Transaction
from shared.contracts.envelope import Event
from shared.contracts.registry import TYPES
from shared.messaging.batch import Batch
from shared.messaging.delivery import Delivery
from shared.messaging.positions import Group
from shared.postgres.pool import Pool

NOW = datetime(2026, 6, 1, tzinfo=UTC)
MANY = 10_000

_requests = itertools.count()


async def deliver(pool: Pool, *batch: Event, now: datetime = NOW) -> None:
    """Deliver a batch as the worker does: each event once, retried after a failure."""
    delivery = Delivery(pool, Group("test", "points"), events.handle, lambda: now)
    assert await delivery.deliver(Batch({}, list(batch), [], 0), lambda _: False)


async def adjust(pool: Pool, customer_id: str, points: int, now: datetime = NOW) -> Transaction:
    """One adjustment, in a transaction of its own."""
    async with pool.acquire() as connection, connection.transaction():
        return await adjusting.adjust(connection, call(customer_id, now), Adjustment(points, "goodwill", None, "key:a"))


def call(customer_id: str = "ann", now: datetime = NOW) -> Call:
    """A request that moves points."""
    return Call(customer_id, f"request-{next(_requests)}", now)


@dataclass(frozen=True)
class Balances:
    """A customer's points, now and over the lifetime."""

    available: int = 0
    pending: int = 0
    held: int = 0
    debt: int = 0
    lifetime_earned: int = 0
    lifetime_redeemed: int = 0


async def balances(pool: Pool, customer_id: str = "ann", now: datetime = NOW) -> Balances:
    """A customer's balances as the API reads them."""
    account = (await balance(pool, customer_id, now)).account
    return Balances(account.available, account.pending, account.held, account.debt, account.earned, account.redeemed)


async def refused(pool: Pool) -> list[tuple[str, str]]:
    """The dead letters in their order: the event's id, and the reason."""
    rows = await pool.fetch("SELECT value, reason FROM dead_letter ORDER BY id")
    return [(from_json(row["value"])["id"], row["reason"]) for row in rows]


async def published(pool: Pool) -> list[dict[str, Any]]:
    """The events in the outbox, in their order; each is as the contract's model of its type has it."""
    rows = await pool.fetch("SELECT topic, key, value FROM outbox ORDER BY id")
    events = [from_json(row["value"]) for row in rows]
    for event in events:
        TYPES[event["type"]].model.model_validate(event["data"])
    assert {row["topic"] for row in rows} <= {"loyalty.points"}
    assert [row["key"].decode() for row in rows] == [event["data"]["customer_id"] for event in events]
    return events


async def transactions(pool: Pool) -> list[dict[str, Any]]:
    """All transactions, by customer and in order."""
    return [dict(row) for row in await pool.fetch("SELECT * FROM transaction ORDER BY customer_id, sequence")]


async def offenders(pool: Pool) -> dict[str, Sequence[str]]:
    """The offenders that `verify` reports, by check."""
    return {check.name: check.offenders async for check in verifying.verify(pool, MANY) if check.offenders}


async def check_books(pool: Pool) -> None:
    """The books agree with themselves, every statement adds up, and the outbox has exactly their events."""
    assert await offenders(pool) == {}
    rows = await transactions(pool)
    nets: dict[str, int] = {}
    for row in rows:
        net = row["available_after"] + row["pending_after"] + row["held_after"] - row["debt_after"]
        gained = 0 if row["kind"] in WITHIN else row["points"]
        assert net == nets.get(row["customer_id"], 0) + gained, dict(row)
        nets[row["customer_id"]] = net
    for customer, net in nets.items():
        row = await pool.fetchrow("SELECT available, pending, held, debt FROM account WHERE customer_id = $1", customer)
        stored = Balances(*row)
        assert min(stored.available, stored.pending, stored.held, stored.debt) >= 0
        assert stored.available + stored.pending + stored.held - stored.debt == net
    announced = [(event["type"], event["data"]) for event in await published(pool)]
    announced = [event for event in announced if event[0] != "loyalty.points.expiring.v1"]
    assert sorted(map(_from_event, announced), key=str) == sorted(map(_from_row, filter(_moves, rows)), key=str)
    parts = {
        (data["transaction_id"], name, data[name]) for _, data in announced for name in PARTS.values() if name in data
    }
    postings = await pool.fetch(FLOWS_SQL, list(PARTS), [str(data["transaction_id"]) for _, data in announced])
    assert parts == {(str(row["transaction_id"]), PARTS[row["target"]], row["points"]) for row in postings}
    for customer in nets:
        order = [data["transaction_id"] for _, data in announced if data["customer_id"] == customer]
        assert order == [str(row["id"]) for row in rows if row["customer_id"] == customer and _moves(row)]


PARTS = {"pending": "pending_points", "debt": "repaid_points"}
"""By account: the field of an event with the points that went into it."""

FLOWS_SQL = """
SELECT transaction_id, target, sum(points)::bigint AS points FROM posting
WHERE target = ANY($1::text[]) AND transaction_id = ANY($2::text[]::uuid[])
GROUP BY transaction_id, target
"""


WITHIN = {"activated", "held", "released"}
"""Kinds of transactions that move points within their customer."""


def _moves(row: dict[str, Any]) -> bool:
    return row["points"] != 0 and row["kind"] not in {"held", "released"}


def _from_event(event: tuple[str, dict[str, Any]]) -> tuple[object, ...]:
    type_, data = event
    return data["transaction_id"], type_, data["points"], data["reason"], data["balance"]


def _from_row(row: dict[str, Any]) -> tuple[object, ...]:
    balance = {name: row[f"{name}_after"] for name in ("available", "pending", "held", "debt")}
    return str(row["id"]), f"loyalty.points.{row['kind']}.v1", abs(row["points"]), row["reason"], balance


TABLES_SQL = """
SELECT string_agg(format('DELETE FROM %I', tablename), '; ') FROM pg_tables
WHERE schemaname = 'public' AND tablename <> ALL ($1::text[])
"""


async def empty(pool: Pool, keep: Sequence[str] = ("document_version",)) -> None:
    """Delete everything but the first version of the rules, for the next example."""
    await pool.execute(await pool.fetchval(TABLES_SQL, ["schema_migration", *keep]))
    if "document_version" in keep:
        await pool.execute("DELETE FROM document_version WHERE version > 1")
