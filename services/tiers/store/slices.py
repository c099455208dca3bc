"""Slices of runs over all customers: each is done once, by whoever locks it first."""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

from shared.postgres.pool import Connection, Pool


class DoneMeanwhileError(Exception):
    """Another worker did the slice after this transaction's snapshot: the next transaction finds another one."""


class Slice(NamedTuple):
    """The customers of a run with an id above `after_id`, up to `until_id` (None: without an end)."""

    number: int
    after_id: str
    until_id: str | None


# Every $2th customer ends a slice; the last one has no end, so that newcomers are in one too.
CUT_SQL = """
WITH ends AS (
    SELECT customer_id, (place / $2)::int AS number
    FROM (SELECT customer_id, row_number() OVER (ORDER BY customer_id) AS place FROM customer) AS placed
    WHERE place % $2::bigint = 0
)
INSERT INTO slice (run_id, number, after_id, until_id)
SELECT $1::uuid, number, lag(customer_id, 1, '') OVER (ORDER BY number), customer_id FROM ends
UNION ALL
SELECT $1::uuid, coalesce(max(number), 0) + 1, coalesce(max(customer_id), ''), NULL FROM ends
"""


async def cut(connection: Connection, run_id: UUID, customers: int) -> None:
    """Cut all customers into slices of some customers each. The caller holds a lock of the run."""
    await connection.execute(CUT_SQL, run_id, customers)


IS_CUT_SQL = """
SELECT EXISTS (SELECT FROM slice WHERE run_id = $1)
"""


async def is_cut(connection: Connection, run_id: UUID) -> bool:
    """Whether a run has its slices."""
    return bool(await connection.fetchval(IS_CUT_SQL, run_id))


CLAIM_SQL = """
SELECT number, after_id, until_id
FROM slice
WHERE run_id = $1 AND outcome IS NULL
ORDER BY number
LIMIT 1
FOR UPDATE SKIP LOCKED
"""


async def claim(connection: Connection, run_id: UUID) -> Slice | None:
    """Lock the next slice that is not done and that nobody works on; None: there is none.

    Raises:
        DoneMeanwhileError: it was done after the transaction's snapshot.
    """
    try:
        row = await connection.fetchrow(CLAIM_SQL, run_id)
    except asyncpg.SerializationError as error:
        raise DoneMeanwhileError from error
    return None if row is None else Slice(*row)


FINISH_SQL = """
UPDATE slice SET outcome = $3 WHERE run_id = $1 AND number = $2
"""


async def finish(connection: Connection, run_id: UUID, number: int, outcome: Mapping[str, Any]) -> None:
    """Write the outcome of a slice, which is done with the caller's transaction."""
    await connection.execute(FINISH_SQL, run_id, number, outcome)


OUTCOMES_SQL = """
SELECT outcome FROM slice WHERE run_id = $1 ORDER BY number
"""


async def outcomes(connection: Connection, run_id: UUID) -> list[dict[str, Any]] | None:
    """The outcomes of all slices; None while some are not done."""
    found = [row["outcome"] for row in await connection.fetch(OUTCOMES_SQL, run_id)]
    return None if None in found or not found else found


PROGRESS_SQL = """
SELECT coalesce(count(outcome)::float8 / nullif(count(*), 0), 0) FROM slice WHERE run_id = $1
"""


async def progress(pool: Pool, run_id: UUID) -> float:
    """The part of a run that is done, from 0 to 1."""
    return float(await pool.fetchval(PROGRESS_SQL, run_id) or 0)


COUNT_LEFT_SQL = """
SELECT count(*) FROM slice WHERE run_id = ANY($1::uuid[]) AND outcome IS NULL
"""


async def count_left(pool: Pool, run_ids: Collection[UUID]) -> int:
    """The number of slices of runs that are not done."""
    return int(await pool.fetchval(COUNT_LEFT_SQL, list(run_ids)) or 0)


FORGET_SQL = """
DELETE FROM slice WHERE run_id = ANY($1::uuid[])
"""


async def forget(connection: Connection, run_ids: Collection[UUID]) -> None:
    """Delete the slices of runs that are over."""
    await connection.execute(FORGET_SQL, list(run_ids))
