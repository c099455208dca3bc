"""Redemptions, and the lots that paid for them."""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from shared.postgres.pool import Connection, Pool


class Redemption(NamedTuple):
    """Points spent for a reward, under a reference or from a hold, with the columns of its row."""

    id: UUID
    customer_id: str
    points: int
    reward_id: str | None
    quantity: int | None
    reference: str | None
    hold_id: UUID | None
    transaction_id: UUID
    created_at: datetime
    cancelled_at: datetime | None
    took_stock: bool = False
    """Whether it took its quantity from the reward's stock, which a cancellation then gives back."""


INSERT_SQL = """
INSERT INTO redemption (id, customer_id, points, reward_id, quantity, reference, hold_id, transaction_id, created_at,
                        cancelled_at, took_stock)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT ON CONSTRAINT redemption_reference DO NOTHING
RETURNING true
"""


async def insert(connection: Connection, redemption: Redemption) -> bool:
    """Store a new redemption; False if the customer has used its reference."""
    return bool(await connection.fetchval(INSERT_SQL, *redemption))


FIND_SQL = """
SELECT id, customer_id, points, reward_id, quantity, reference, hold_id, transaction_id, created_at, cancelled_at,
       took_stock
FROM redemption WHERE id = $1
"""


async def find(connection: Connection | Pool, redemption_id: UUID) -> Redemption | None:
    """A redemption by its id."""
    row = await connection.fetchrow(FIND_SQL, redemption_id)
    return None if row is None else Redemption(*row)


BY_REFERENCE_SQL = """
SELECT id, customer_id, points, reward_id, quantity, reference, hold_id, transaction_id, created_at, cancelled_at,
       took_stock
FROM redemption WHERE customer_id = $1 AND reference = $2
"""


async def by_reference(connection: Connection, customer: str, reference: str) -> Redemption | None:
    """A customer's redemption by its reference."""
    row = await connection.fetchrow(BY_REFERENCE_SQL, customer, reference)
    return None if row is None else Redemption(*row)


QUANTITY_SQL = """
SELECT coalesce(sum(quantity), 0)::bigint FROM redemption
WHERE customer_id = $1 AND reward_id = $2 AND cancelled_at IS NULL
"""


async def quantity_of(connection: Connection, customer: str, reward: str) -> int:
    """Quantity of a reward that a customer has redeemed, without cancelled redemptions."""
    quantity: Any = await connection.fetchval(QUANTITY_SQL, customer, reward)
    return quantity


PORTIONS_SQL = """
SELECT lot_id, points FROM every_posting WHERE transaction_id = $1 AND target = 'redeemed' ORDER BY number
"""


async def portions(connection: Connection, transaction_id: UUID) -> list[tuple[UUID, int]]:
    """The lots that paid for a redemption's transaction, with the points of each."""
    return [(row["lot_id"], row["points"]) for row in await connection.fetch(PORTIONS_SQL, transaction_id)]


CANCEL_SQL = """
UPDATE redemption SET cancelled_at = $2 WHERE id = $1
RETURNING id, customer_id, points, reward_id, quantity, reference, hold_id, transaction_id, created_at, cancelled_at,
          took_stock
"""


async def cancel(connection: Connection, redemption_id: UUID, now: datetime) -> Redemption:
    """Mark a redemption as cancelled."""
    row: Any = await connection.fetchrow(CANCEL_SQL, redemption_id, now)
    return Redemption(*row)
