"""Runs of journeys: one row each, moved under the lock of their customer."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec

from services.notifications.rules.journey.run import Ending, Item, Run, RunState, Trace
from services.notifications.rules.trigger import TriggerEvent
from shared.contracts.envelope import Cause
from shared.contracts.values import format_instant
from shared.postgres.pool import Connection, Pool

LATER: Final = timedelta(minutes=5)
"""How long a customer rests whose runs could not be moved."""

ADD_SQL = """
INSERT INTO run (id, customer_id, journey, version, key, type, facts, fields, started_at, since, state, reason, step,
                 fell_due_at, due_at, look_at, awaits, items, count, trace, correlation_id, causation_id, traceparent,
                 recorded_at)
SELECT id, customer_id, journey, version, key, type, facts, fields, started_at, since, state, reason, step, fell_due_at,
       due_at, due_at, awaits, items::json, count, trace::json, correlation_id, causation_id, traceparent, $1
FROM unnest($2::uuid[], $3::text[], $4::text[], $5::int[], $6::text[], $7::text[], $8::json[], $9::json[],
            $10::timestamptz[], $11::timestamptz[], $12::text[], $13::text[], $14::text[], $15::timestamptz[],
            $16::timestamptz[], $17::text[], $18::text[], $19::int[], $20::text[], $21::text[], $22::text[],
            $23::text[])
     AS new (id, customer_id, journey, version, key, type, facts, fields, started_at, since, state, reason, step,
             fell_due_at, due_at, awaits, items, count, trace, correlation_id, causation_id, traceparent)
"""


async def add(connection: Connection, runs: Sequence[Run], now: datetime) -> None:
    """Store new runs of locked customers."""
    if runs:
        await connection.execute(ADD_SQL, now, *map(list, zip(*map(_columns, runs), strict=True)))


def _columns(run: Run) -> tuple[object, ...]:
    trigger = run.trigger
    return (
        run.id,
        run.customer_id,
        run.journey,
        run.version,
        trigger.key,
        trigger.type,
        dict(trigger.facts),
        dict(run.fields),
        trigger.at,
        run.since,
        *_state(run),
        trigger.cause.correlation_id,
        trigger.cause.causation_id,
        trigger.cause.traceparent,
    )


def _state(run: Run) -> tuple[object, ...]:
    return (
        run.state,
        run.reason,
        run.step,
        run.fell_due_at,
        run.due_at,
        run.awaits,
        _to_text([[format_instant(item.at), item.facts] for item in run.items]),
        run.count,
        _to_text([[entry.step, entry.kind, format_instant(entry.at), entry.outcome] for entry in run.trace]),
    )


def _to_text(items: list[list[Any]]) -> str:
    # The driver would take lists within an array for its further dimensions.
    return msgspec.json.encode(items).decode()


SAVE_SQL = """
UPDATE run
SET version = new.version, state = new.state, reason = new.reason, step = new.step, fell_due_at = new.fell_due_at,
    due_at = new.due_at, look_at = new.due_at, awaits = new.awaits, items = new.items::json, count = new.count,
    trace = new.trace::json
FROM unnest($1::uuid[], $2::int[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::timestamptz[],
            $8::text[], $9::text[], $10::int[], $11::text[])
     AS new (id, version, state, reason, step, fell_due_at, due_at, awaits, items, count, trace)
WHERE run.id = new.id
"""


async def save(connection: Connection, runs: Sequence[Run]) -> None:
    """Store the state of runs of locked customers."""
    if runs:
        rows = [(run.id, run.version, *_state(run)) for run in runs]
        await connection.execute(SAVE_SQL, *map(list, zip(*rows, strict=True)))


OPEN_SQL = """
SELECT id, customer_id, journey, version, key, type, facts, fields, started_at, since, state, reason, step, fell_due_at,
       due_at, awaits, items, count, trace, correlation_id, causation_id, traceparent
FROM run
WHERE id IN (
    SELECT id FROM run WHERE customer_id = ANY($1::text[]) AND due_at <= $2
    UNION ALL
    SELECT id FROM run WHERE customer_id = ANY($1::text[]) AND awaits = ANY($3::text[])
    LIMIT $4
)
ORDER BY due_at, id
"""


async def load_open(
    connection: Connection, customer_ids: Collection[str], now: datetime, awaits: Collection[str], most: int
) -> list[Run]:
    """The runs of locked customers that are due, or wait for an event of a type; at most so many, those due first."""
    rows = await connection.fetch(OPEN_SQL, list(customer_ids), now, list(awaits), most)
    return [to_run(row) for row in rows]


def to_run(row: Mapping[str, Any]) -> Run:
    """The run in a row."""
    cause = Cause(row["correlation_id"], row["causation_id"], row["traceparent"])
    trigger = TriggerEvent(row["type"], row["customer_id"], row["key"], row["facts"], row["started_at"], cause)
    return Run(
        id=row["id"],
        customer_id=row["customer_id"],
        journey=row["journey"],
        version=row["version"],
        trigger=trigger,
        since=row["since"],
        step=row["step"],
        fell_due_at=row["fell_due_at"],
        fields=row["fields"],
        due_at=row["due_at"],
        awaits=row["awaits"],
        state=RunState(row["state"]),
        reason=None if row["reason"] is None else Ending(row["reason"]),
        items=tuple(Item(datetime.fromisoformat(at), facts) for at, facts in row["items"]),
        count=row["count"],
        trace=tuple(Trace(step, kind, datetime.fromisoformat(at), outcome) for step, kind, at, outcome in row["trace"]),
    )


USED_SQL = """
SELECT place
FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS wanted (customer_id, journey, key, place)
WHERE EXISTS (
    SELECT FROM run
    WHERE run.customer_id = wanted.customer_id AND run.journey = wanted.journey AND run.key = wanted.key
)
"""


async def used(connection: Connection, wanted: Sequence[tuple[str, str, str]]) -> set[tuple[str, str, str]]:
    """Of (customer, journey, key): those whose trigger started or joined a run."""
    if not wanted:
        return set()
    rows = await connection.fetch(USED_SQL, *map(list, zip(*wanted, strict=True)))
    return {wanted[row["place"] - 1] for row in rows}


# The occasion of a message is the key of its run's trigger, with `#` and the step behind it where it is not step 0.
SENT_SQL = """
SELECT place
FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS wanted (customer_id, journey, key, place)
WHERE EXISTS (
    SELECT FROM message
    WHERE message.customer_id = wanted.customer_id AND channel = ANY('{in_app,email,sms,push}')
      AND message.trigger = wanted.journey
      AND (occasion = wanted.key OR occasion > wanted.key || '#' AND occasion < wanted.key || '$')
)
"""


async def sent(connection: Connection, wanted: Sequence[tuple[str, str, str]]) -> set[tuple[str, str, str]]:
    """Of (customer, journey, key): those whose trigger made a message, perhaps in a run that was not stored."""
    if not wanted:
        return set()
    rows = await connection.fetch(SENT_SQL, *map(list, zip(*wanted, strict=True)))
    return {wanted[row["place"] - 1] for row in rows}


LAST_SQL = """
SELECT customer_id, journey, last.started_at
FROM unnest($1::text[], $2::text[]) AS wanted (customer_id, journey)
CROSS JOIN LATERAL (
    SELECT started_at FROM run
    WHERE run.customer_id = wanted.customer_id AND run.journey = wanted.journey AND state <> 'joined'
    ORDER BY started_at DESC
    LIMIT 1
) AS last
"""


async def last_starts(connection: Connection, wanted: Collection[tuple[str, str]]) -> dict[tuple[str, str], datetime]:
    """When the last runs of (customer, journey) started."""
    if not wanted:
        return {}
    rows = await connection.fetch(LAST_SQL, *map(list, zip(*wanted, strict=True)))
    return {(customer_id, journey): started_at for customer_id, journey, started_at in rows}


LAST_SENT_SQL = """
SELECT customer_id, journey, last.occurred_at
FROM unnest($1::text[], $2::text[]) AS wanted (customer_id, journey)
CROSS JOIN LATERAL (
    SELECT max(occurred_at) AS occurred_at FROM message
    WHERE message.customer_id = wanted.customer_id AND channel = ANY('{in_app,email,sms,push}')
      AND message.trigger = wanted.journey AND run_id IS NULL
) AS last
WHERE last.occurred_at IS NOT NULL
"""


async def last_sent(connection: Connection, wanted: Collection[tuple[str, str]]) -> dict[tuple[str, str], datetime]:
    """When runs of (customer, journey) that were not stored last made a message."""
    if not wanted:
        return {}
    rows = await connection.fetch(LAST_SENT_SQL, *map(list, zip(*wanted, strict=True)))
    return {(customer_id, journey): at for customer_id, journey, at in rows}


DUE_SQL = """
SELECT DISTINCT customer_id FROM (
    SELECT customer_id FROM run WHERE look_at <= $1 AND customer_id <> ALL($2::text[]) ORDER BY look_at LIMIT $3
) AS due
"""


async def due_customers(connection: Connection, now: datetime, but: Collection[str], most: int) -> list[str]:
    """Customers of the `most` runs that are due longest; nothing is locked."""
    return [row["customer_id"] for row in await connection.fetch(DUE_SQL, now, list(but), most)]


TRY_LOCK_SQL = """
SELECT customer_id FROM customer
WHERE customer_id = ANY($1::text[])
ORDER BY customer_id
LIMIT $2
FOR UPDATE SKIP LOCKED
"""


async def try_lock(connection: Connection, customer_ids: Collection[str], most: int) -> list[str]:
    """Lock up to `most` of those customers that nobody else has locked, until the transaction ends."""
    return [row["customer_id"] for row in await connection.fetch(TRY_LOCK_SQL, sorted(customer_ids), most)]


COUNT_DUE_SQL = """
SELECT count(*) FROM run WHERE look_at <= now()
"""


async def count_due(pool: Pool) -> int:
    """Number of runs that are due now."""
    count: int = await pool.fetchval(COUNT_DUE_SQL)
    return count


REST_SQL = """
UPDATE run SET look_at = $3 WHERE customer_id = $1 AND look_at <= $2
"""


async def rest(connection: Connection, customer_id: str, now: datetime) -> None:
    """Let a customer's due runs rest, since they cannot be moved."""
    await connection.execute(REST_SQL, customer_id, now, now + LATER)


PAGE_SQL = """
SELECT id, customer_id, journey, version, key, type, facts, fields, started_at, since, state, reason, step, fell_due_at,
       due_at, awaits, items, count, trace, correlation_id, causation_id, traceparent
FROM run
WHERE journey = $1 AND customer_id = $2 AND state <> 'joined' AND (started_at, id) < ($3, $4)
ORDER BY started_at DESC, id DESC
LIMIT $5
"""


async def page(pool: Pool, journey: str, customer_id: str, before: tuple[datetime, UUID], limit: int) -> list[Run]:
    """A customer's stored runs of a journey, newest first."""
    return [to_run(row) for row in await pool.fetch(PAGE_SQL, journey, customer_id, *before, limit)]


INSIDE_SQL = """
SELECT version, count(*) AS runs FROM run WHERE journey = $1 AND due_at IS NOT NULL GROUP BY version ORDER BY version
"""


async def inside(pool: Pool, journey: str) -> Iterable[tuple[int, int]]:
    """How many runs of each version of a journey wait."""
    return [(version, runs) for version, runs in await pool.fetch(INSIDE_SQL, journey)]
