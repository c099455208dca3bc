"""Erases what journeys know of customers: runs, timers, and what happened."""

from collections.abc import Sequence

from shared.messaging import erasure
from shared.messaging.erasure import Erasure
from shared.postgres.pool import Connection

# A customer without a new registration has no journeys, so whatever came later is removed too.
ERASE_RUNS_SQL = """
WITH covered AS (
    SELECT run.id
    FROM run
    JOIN unnest($1::text[], $2::timestamptz[]) AS erased (customer_id, at) USING (customer_id)
    JOIN customer USING (customer_id)
    WHERE started_at <= erased.at OR seen_at IS NULL
    LIMIT $3
    FOR UPDATE OF run SKIP LOCKED
)
DELETE FROM run USING covered WHERE run.id = covered.id
RETURNING 1
"""


async def _erase_runs(connection: Connection, erasures: Sequence[Erasure], most: int) -> int:
    customers, erased_at, _, _ = erasure.columns(erasures)
    return len(await connection.fetch(ERASE_RUNS_SQL, customers, erased_at, most))


ERASE_HAPPENED_SQL = """
WITH covered AS (
    SELECT customer_id, type, key
    FROM happened
    JOIN unnest($1::text[], $2::timestamptz[]) AS erased (customer_id, erased_at) USING (customer_id)
    JOIN customer USING (customer_id)
    WHERE happened.at <= erased.erased_at OR seen_at IS NULL
    LIMIT $3
    FOR UPDATE OF happened SKIP LOCKED
)
DELETE FROM happened USING covered
WHERE happened.customer_id = covered.customer_id AND happened.type = covered.type AND happened.key = covered.key
RETURNING 1
"""


async def _erase_happened(connection: Connection, erasures: Sequence[Erasure], most: int) -> int:
    customers, erased_at, _, _ = erasure.columns(erasures)
    return len(await connection.fetch(ERASE_HAPPENED_SQL, customers, erased_at, most))


# Timers have no time of their own: those of a customer who registered again are set again by what happens then.
ERASE_TIMERS_SQL = """
WITH covered AS (
    SELECT customer_id, journey
    FROM timer
    JOIN unnest($1::text[]) AS erased (customer_id) USING (customer_id)
    JOIN customer USING (customer_id)
    WHERE seen_at IS NULL
    LIMIT $2
    FOR UPDATE OF timer SKIP LOCKED
)
DELETE FROM timer USING covered WHERE timer.customer_id = covered.customer_id AND timer.journey = covered.journey
RETURNING 1
"""


async def _erase_timers(connection: Connection, erasures: Sequence[Erasure], most: int) -> int:
    return len(await connection.fetch(ERASE_TIMERS_SQL, erasure.columns(erasures)[0], most))


async def erase(connection: Connection, erasures: Sequence[Erasure], most: int) -> int:
    """Remove what journeys know of erased customers, at most so many rows of each table; see `erasure.EraseOwn`."""
    erased = await _erase_runs(connection, erasures, most)
    erased += await _erase_happened(connection, erasures, most)
    return erased + await _erase_timers(connection, erasures, most)
