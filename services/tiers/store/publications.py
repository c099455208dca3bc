"""Publications: how far a version of the tier program is applied to the customers."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from shared.postgres.ids import new_id
from shared.postgres.pool import Connection, Pool
from shared.postgres.slices import Slice


class Publication(NamedTuple):
    """A version that is to be applied to every customer from `effective_at` on; `applied_at`: all slices are done."""

    id: UUID
    version: int
    effective_at: datetime
    published_at: datetime
    applied_at: datetime | None


ADD_SQL = """
INSERT INTO publication (id, version, effective_at, published_at) VALUES ($1, $2, $3, $4)
"""


async def add(connection: Connection, version: int, effective_at: datetime, published_at: datetime) -> None:
    """Store the publication of a version, for the job to apply it."""
    await connection.execute(ADD_SQL, new_id(), version, effective_at, published_at)


DUE_SQL = """
SELECT id, version, effective_at, published_at, applied_at
FROM publication
WHERE finished_at IS NULL AND effective_at <= $1
ORDER BY effective_at
"""


async def due(pool: Pool, now: datetime) -> list[Publication]:
    """The versions that are in force and not applied to all customers yet, in the order of time."""
    return [Publication(*row) for row in await pool.fetch(DUE_SQL, now)]


COUNT_DUE_SQL = """
SELECT count(*) FROM publication WHERE finished_at IS NULL AND applied_at IS NULL AND effective_at <= now()
"""


async def count_due(pool: Pool) -> int:
    """The number of versions that are in force and whose slices are not done."""
    return int(await pool.fetchval(COUNT_DUE_SQL) or 0)


LOCK_SQL = """
SELECT id, version, effective_at, published_at, applied_at
FROM publication
WHERE id = $1 AND finished_at IS NULL
FOR UPDATE
"""


async def lock(connection: Connection, publication_id: UUID) -> Publication | None:
    """Lock a publication until the transaction ends; None: it is finished."""
    row: Any = await connection.fetchrow(LOCK_SQL, publication_id)
    return None if row is None else Publication(*row)


NOTE_APPLIED_SQL = """
UPDATE publication SET applied_at = $2 WHERE id = $1
"""


async def note_applied(connection: Connection, publication_id: UUID, now: datetime) -> None:
    """Store that all slices of a publication are done."""
    await connection.execute(NOTE_APPLIED_SQL, publication_id, now)


FINISH_SQL = """
UPDATE publication SET finished_at = $2 WHERE id = $1
"""


async def finish(connection: Connection, publication_id: UUID, now: datetime) -> None:
    """Store that a version is applied to all customers."""
    await connection.execute(FINISH_SQL, publication_id, now)


JUDGED_UNTIL_SQL = """
SELECT customer_id FROM customer
WHERE customer_id > $1 AND customer_id <= $2 AND program_version = ANY($3::int[])
ORDER BY customer_id
"""

JUDGED_AFTER_SQL = """
SELECT customer_id FROM customer
WHERE customer_id > $1 AND program_version = ANY($2::int[])
ORDER BY customer_id
"""


async def judged_by(connection: Connection, part: Slice, versions: Collection[int]) -> Sequence[str]:
    """The customers of a slice who were judged by some versions last."""
    if part.until_id is None:
        rows = await connection.fetch(JUDGED_AFTER_SQL, part.after_id, list(versions))
    else:
        rows = await connection.fetch(JUDGED_UNTIL_SQL, part.after_id, part.until_id, list(versions))
    return [row["customer_id"] for row in rows]


LEFT_OVER_SQL = """
SELECT customer_id FROM customer WHERE program_version = ANY($1::int[]) AND customer_id <> ALL($2::text[]) LIMIT $3
"""


async def left_over(
    connection: Connection, versions: Collection[int], without: Collection[str], limit: int
) -> Sequence[str]:
    """Some customers who were judged by some versions last; this reads the whole table."""
    rows = await connection.fetch(LEFT_OVER_SQL, list(versions), list(without), limit)
    return [row["customer_id"] for row in rows]
