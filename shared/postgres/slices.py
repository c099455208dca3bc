"""Runs over very many rows, slice by slice: each in a transaction of its own, beside live traffic, and done once.

Who works on a slice locks it, and stores its outcome in the same transaction as its effects. Only services with such
runs have the table.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

import asyncpg

from shared.postgres.pool import Connection, Pool

_AT_ONCE: Final = 2
"""Slices that a worker works on at the same time: one is computed while the database answers for the other."""


class DoneMeanwhileError(Exception):
    """Another worker did the slice after this transaction's snapshot: the next transaction finds another one."""


class Slice(NamedTuple):
    """The part of a run that comes after `after_id`, up to `until_id` (None: without an end)."""

    number: int
    after_id: str
    until_id: str | None


ADD_SQL = """
INSERT INTO slice (run_id, number, after_id, until_id)
SELECT $1, place, after_id, until_id
FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS cut (after_id, until_id, place)
"""


async def add(connection: Connection, run_id: UUID, bounds: Sequence[tuple[str, str | None]]) -> None:
    """Give a run its slices, by what is after and until what. The caller holds a lock of the run."""
    after, until = zip(*bounds, strict=True)
    await connection.execute(ADD_SQL, run_id, after, until)


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


async def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Run:
    """A run that has its slices.

    `work` does a slice in the transaction that locks it, and returns its outcome. `goes_on` is asked before each slice,
    without a connection, whether the run is to go on. With `repeatable_read`, all statements of a slice see the same
    instant; that is for slices that lock nothing else.
    """

    id: UUID
    work: Callable[[Connection, Slice], Awaitable[Mapping[str, Any]]]
    goes_on: Callable[[], Awaitable[bool]] = _always
    isolation: Literal["read_committed", "repeatable_read"] = "read_committed"


async def work_off(pool: Pool, run: Run) -> None:
    """Do all slices of a run that are not done and that no other worker works on."""

    async def go_on() -> None:
        while await run.goes_on() and await _do_next(pool, run):
            pass

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(go_on())
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures


async def _do_next(pool: Pool, run: Run) -> bool:
    """Do a slice; returns whether there may be more."""
    try:
        async with pool.acquire() as connection, connection.transaction(isolation=run.isolation):
            claimed = await claim(connection, run.id)
            if claimed is None:
                return False
            outcome = await run.work(connection, claimed)
            await finish(connection, run.id, claimed.number, outcome)
    except DoneMeanwhileError:
        pass
    return True
