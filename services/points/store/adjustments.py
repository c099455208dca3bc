"""Adjustments by hand, with their author and note, which the customer's statement does not show."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from shared.postgres.pool import Connection, Pool


class Made(NamedTuple):
    """An adjustment, with the columns of its row."""

    customer_id: str
    transaction_id: UUID
    points: int
    reason: str | None
    note: str | None
    principal: str | None
    made_at: datetime


INSERT_SQL = """
INSERT INTO adjustment (customer_id, transaction_id, points, reason, note, principal, made_at)
VALUES ($1, $2, $3, $4, $5, $6, $7)
"""


async def insert(connection: Connection, made: Made) -> None:
    """Store an adjustment."""
    await connection.execute(INSERT_SQL, *made)


FIND_SQL = """
SELECT customer_id, transaction_id, points, reason, note, principal, made_at
FROM adjustment WHERE customer_id = $1 AND transaction_id = $2
"""


async def find(connection: Connection, customer_id: str, transaction_id: UUID) -> Made | None:
    """The adjustment of a transaction, or None."""
    row = await connection.fetchrow(FIND_SQL, customer_id, transaction_id)
    return None if row is None else Made(*row)


PAGE_SQL = """
SELECT customer_id, transaction_id, points, reason, note, principal, made_at
FROM adjustment WHERE customer_id = $1 AND ($2::uuid IS NULL OR transaction_id < $2)
ORDER BY transaction_id DESC LIMIT $3
"""


async def page(pool: Pool, customer_id: str, before: UUID | None, limit: int) -> Sequence[Made]:
    """A customer's adjustments, newest first."""
    return [Made(*row) for row in await pool.fetch(PAGE_SQL, customer_id, before, limit)]
