"""Timers: when a date or a stretch of inactivity starts a run of a customer."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from services.notifications.rules.journey.timing import Timer
from services.notifications.store.runs import LATER
from shared.contracts.envelope import Cause
from shared.postgres.pool import Connection, Pool

# Of inactivity the newest event counts, however the events arrive.
SET_SQL = """
INSERT INTO timer (customer_id, journey, base, due_at, look_at, correlation_id, causation_id, traceparent)
SELECT customer_id, journey, base, due_at, due_at, correlation_id, causation_id, traceparent
FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::text[], $6::text[], $7::text[])
     AS new (customer_id, journey, base, due_at, correlation_id, causation_id, traceparent)
ON CONFLICT (customer_id, journey) DO UPDATE
SET base = excluded.base, due_at = excluded.due_at, look_at = excluded.due_at,
    correlation_id = excluded.correlation_id, causation_id = excluded.causation_id, traceparent = excluded.traceparent
WHERE excluded.base IS NULL OR timer.base IS NULL OR timer.base <= excluded.base
"""


async def put(connection: Connection, timers: Sequence[Timer]) -> None:
    """Set timers of locked customers, one per customer and journey."""
    if timers:
        rows = [
            (*timer[:4], timer.cause.correlation_id, timer.cause.causation_id, timer.cause.traceparent)
            for timer in timers
        ]
        await connection.execute(SET_SQL, *map(list, zip(*rows, strict=True)))


LOAD_SQL = """
SELECT customer_id, journey, base, due_at, correlation_id, causation_id, traceparent
FROM timer
WHERE customer_id = ANY($1::text[]) AND due_at <= $2
ORDER BY due_at, customer_id, journey
"""


async def load_due(connection: Connection, customer_ids: Collection[str], now: datetime) -> list[Timer]:
    """The timers of locked customers that are due, in the order of their instants."""
    rows = await connection.fetch(LOAD_SQL, list(customer_ids), now)
    return [
        Timer(customer_id, journey, base, due_at, Cause(*cause)) for customer_id, journey, base, due_at, *cause in rows
    ]


DUE_SQL = """
SELECT DISTINCT customer_id FROM (
    SELECT customer_id FROM timer WHERE look_at <= $1 AND customer_id <> ALL($2::text[]) ORDER BY look_at LIMIT $3
) AS due
"""


async def due_customers(connection: Connection, now: datetime, but: Collection[str], most: int) -> list[str]:
    """Customers of the `most` timers that are due longest; nothing is locked."""
    return [row["customer_id"] for row in await connection.fetch(DUE_SQL, now, list(but), most)]


REST_SQL = """
UPDATE timer SET look_at = $3 WHERE customer_id = $1 AND look_at <= $2
"""


async def rest(connection: Connection, customer_id: str, now: datetime) -> None:
    """Let a customer's due timers rest, since their runs cannot be started."""
    await connection.execute(REST_SQL, customer_id, now, now + LATER)


COUNT_DUE_SQL = """
SELECT count(*) FROM timer WHERE look_at <= now()
"""


async def count_due(pool: Pool) -> int:
    """Number of timers that are due now."""
    count: int = await pool.fetchval(COUNT_DUE_SQL)
    return count


NAME_SETTINGS_SQL = """
INSERT INTO timer_setting (journey, version, after_customer)
SELECT journey, version, '' FROM unnest($1::text[], $2::int[]) AS in_force (journey, version)
ON CONFLICT (journey) DO UPDATE SET version = excluded.version, after_customer = ''
WHERE timer_setting.version <> excluded.version
"""

CLAIM_SETTING_SQL = """
SELECT journey, after_customer FROM timer_setting
WHERE journey = ANY($1::text[]) AND after_customer IS NOT NULL
ORDER BY journey
LIMIT 1
FOR UPDATE SKIP LOCKED
"""


async def claim_setting(connection: Connection, versions: Mapping[str, int]) -> tuple[str, str] | None:
    """A journey whose timers are not yet set by its version in force, and the customer up to whom they are."""
    await connection.execute(NAME_SETTINGS_SQL, list(versions), list(versions.values()))
    row = await connection.fetchrow(CLAIM_SETTING_SQL, list(versions))
    return None if row is None else (row["journey"], row["after_customer"])


KEEP_SETTING_SQL = """
UPDATE timer_setting SET after_customer = $2 WHERE journey = $1
"""


async def keep_setting(connection: Connection, journey: str, after: str | None) -> None:
    """Store up to which customer the timers of a claimed journey are set; None: of all."""
    await connection.execute(KEEP_SETTING_SQL, journey, after)


NEXT_CUSTOMERS_SQL = """
SELECT customer_id FROM customer WHERE customer_id > $1 ORDER BY customer_id LIMIT $2
"""


async def next_customers(connection: Connection, after: str, most: int) -> list[str]:
    """The customers after one, by id."""
    return [row["customer_id"] for row in await connection.fetch(NEXT_CUSTOMERS_SQL, after, most)]
