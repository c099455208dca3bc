"""Holds, by id and by the shop's reference."""

from uuid import UUID

from services.points.rules.books.state import Hold
from services.points.store.lots import hold_from_row
from shared.postgres.pool import Connection, Pool

FIND_SQL = """
SELECT id, customer_id, reference, points, portions, state, expires_at, created_at, captured, redemption_id
FROM hold WHERE id = $1
"""


async def find(connection: Connection | Pool, hold_id: UUID) -> Hold | None:
    """A hold by its id."""
    row = await connection.fetchrow(FIND_SQL, hold_id)
    return None if row is None else hold_from_row(row)


BY_REFERENCE_SQL = """
SELECT id, customer_id, reference, points, portions, state, expires_at, created_at, captured, redemption_id
FROM hold WHERE customer_id = $1 AND reference = $2
"""


async def by_reference(connection: Connection, customer: str, reference: str) -> Hold | None:
    """A customer's hold by its reference."""
    row = await connection.fetchrow(BY_REFERENCE_SQL, customer, reference)
    return None if row is None else hold_from_row(row)
