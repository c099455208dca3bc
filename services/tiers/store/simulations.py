"""Simulations of drafts: their state, their result, and the customers whom a draft moves."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

from shared.postgres import slices
from shared.postgres.ids import joined, new_id
from shared.postgres.pool import Connection, Pool

KEPT_FOR: Final = timedelta(days=90)

_MOST_FORGOTTEN: Final = 10


class Wanted(NamedTuple):
    """What is simulated: a revision of a draft, after the published version `base`, in force from `at` on."""

    version: int
    revision: int
    base: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Simulation:
    """A simulation, with its result once it is done; `failure` says why there is none."""

    id: UUID
    wanted: Wanted
    state: Literal["running", "done", "failed"]
    result: Mapping[str, Any] | None
    failure: str | None


ADD_SQL = """
INSERT INTO simulation (id, version, revision, base, at, created_at, created_by) VALUES ($1, $2, $3, $4, $5, $6, $7)
"""


async def add(connection: Connection, wanted: Wanted, now: datetime, principal: str) -> Simulation:
    """Store a simulation for the job to run."""
    id_ = new_id()
    await connection.execute(ADD_SQL, id_, *wanted, now, principal)
    return Simulation(id_, wanted, "running", None, None)


COUNT_RUNNING_SQL = """
SELECT count(*) FROM simulation WHERE state = 'running'
"""


async def count_running(connection: Connection) -> int:
    """The number of simulations that are not over."""
    return int(await connection.fetchval(COUNT_RUNNING_SQL) or 0)


async def count(pool: Pool) -> int:
    """The number of simulations that are not over."""
    async with pool.acquire() as connection:
        return await count_running(connection)


FIND_SQL = """
SELECT id, version, revision, base, at, state, result, failure FROM simulation WHERE id = $1
"""


async def find(pool: Pool, simulation_id: UUID) -> Simulation | None:
    """A simulation by its id."""
    row = await pool.fetchrow(FIND_SQL, simulation_id)
    return None if row is None else _simulation(row)


NEXT_SQL = """
SELECT id, version, revision, base, at, state, result, failure
FROM simulation
WHERE state = 'running' AND id <> ALL($1::uuid[])
ORDER BY created_at, id
LIMIT 1
"""


async def next_running(pool: Pool, without: Collection[UUID]) -> Simulation | None:
    """The oldest running simulation besides some."""
    row = await pool.fetchrow(NEXT_SQL, list(without))
    return None if row is None else _simulation(row)


LOCK_SQL = """
SELECT state FROM simulation WHERE id = $1 FOR UPDATE
"""


async def lock(connection: Connection, simulation_id: UUID) -> bool:
    """Lock a simulation until the transaction ends; returns whether it is still running."""
    return await connection.fetchval(LOCK_SQL, simulation_id) == "running"


END_SQL = """
UPDATE simulation SET state = $2, result = $3, failure = $4, finished_at = clock_timestamp()
WHERE id = $1 AND state = 'running'
"""


async def end(connection: Connection, simulation_id: UUID, result: Mapping[str, Any] | str) -> None:
    """End a running simulation with its result, or with the reason why there is none."""
    if isinstance(result, str):
        await connection.execute(END_SQL, simulation_id, "failed", None, result)
    else:
        await connection.execute(END_SQL, simulation_id, "done", result, None)


class Group(NamedTuple):
    """Customers of a slice who go from a tier to a tier, in the order of their ids, and for each of them why."""

    from_tier: str
    to_tier: str
    customer_ids: list[str]
    whys: list[str]


SAVE_SQL = """
INSERT INTO simulation_customers (simulation_id, slice, from_tier, to_tier, customer_ids, whys)
SELECT $1, $2, from_tier, to_tier, string_to_array(customer_ids, chr(31)), string_to_array(whys, chr(31))
FROM unnest($3::text[], $4::text[], $5::text[], $6::text[]) AS new (from_tier, to_tier, customer_ids, whys)
"""


async def save(connection: Connection, simulation_id: UUID, number: int, groups: Sequence[Group]) -> None:
    """Store the customers of a slice."""
    rows = [(group.from_tier, group.to_tier, joined(group.customer_ids), joined(group.whys)) for group in groups]
    if rows:
        await connection.execute(SAVE_SQL, simulation_id, number, *zip(*rows, strict=True))


class Moved(NamedTuple):
    """A customer's place in the result of a simulation."""

    slice: int
    customer_id: str
    from_tier: str
    to_tier: str
    why: str


# Slices are in the order of ids, and so are the customers within a slice.
PAGE_SQL = """
SELECT slice, customer_id, from_tier, to_tier, why
FROM simulation_customers AS own, unnest(customer_ids, whys) AS listed (customer_id, why)
WHERE simulation_id = $1 AND (slice, customer_id) > ($4, $5) AND slice >= $4
  AND from_tier = coalesce($2, from_tier) AND to_tier = coalesce($3, to_tier)
  AND (from_tier <> to_tier OR from_tier = $2 AND to_tier = $3)
ORDER BY slice, customer_id
LIMIT $6
"""


async def page(
    pool: Pool, simulation_id: UUID, tiers: tuple[str | None, str | None], after: tuple[int, str] | None, limit: int
) -> list[Moved]:
    """The customers who go from a tier to a tier (None: any other), after a place; if they are equal, who stay."""
    rows = await pool.fetch(PAGE_SQL, simulation_id, *tiers, *(after or (0, "")), limit)
    return [Moved(*row) for row in rows]


HAS_FINISHED_SQL = """
SELECT EXISTS (SELECT FROM simulation WHERE version = $1 AND revision = $2 AND state = 'done')
"""


async def is_simulated(connection: Connection, version: int, revision: int) -> bool:
    """Whether a finished simulation of a revision of a draft exists."""
    return bool(await connection.fetchval(HAS_FINISHED_SQL, version, revision))


FORGET_CUSTOMERS_SQL = """
DELETE FROM simulation_customers WHERE simulation_id = ANY($1::uuid[])
"""


async def forget_customers(connection: Connection, simulation_ids: Sequence[UUID]) -> None:
    """Delete the customers and the slices of simulations that are over."""
    # Slices first: that waits for whoever works on one, so that what they write is deleted too.
    await slices.forget(connection, simulation_ids)
    await connection.execute(FORGET_CUSTOMERS_SQL, simulation_ids)


async def forget(pool: Pool, now: datetime) -> None:
    """Job: delete simulations that ended long ago."""
    while True:
        async with pool.acquire() as connection, connection.transaction():
            old = await _old(connection, now)
            await forget_customers(connection, old)
            await _delete(connection, old)
        if len(old) < _MOST_FORGOTTEN:
            return


OLD_SQL = """
SELECT id FROM simulation WHERE created_at < $1 AND state <> 'running' ORDER BY created_at LIMIT $2
"""


async def _old(connection: Connection, now: datetime) -> list[UUID]:
    return [row["id"] for row in await connection.fetch(OLD_SQL, now - KEPT_FOR, _MOST_FORGOTTEN)]


DELETE_SQL = """
DELETE FROM simulation WHERE id = ANY($1::uuid[])
"""


async def _delete(connection: Connection, simulation_ids: Sequence[UUID]) -> None:
    await connection.execute(DELETE_SQL, simulation_ids)


def _simulation(row: Any) -> Simulation:  # noqa: ANN401 asyncpg's Record has no types
    id_, version, revision, base, at, state, result, failure = row
    return Simulation(id_, Wanted(version, revision, base, at), state, result, failure)
