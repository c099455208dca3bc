"""What journeys count of customers: purchases, and points that left the balance."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from shared.postgres.pool import Connection


class Counted(NamedTuple):
    """What is added to a customer: purchases, with the time of the first of them, and points spent (below 0: back)."""

    customer_id: str
    purchases: int
    first_at: datetime | None
    spent: int


class Total(NamedTuple):
    """A customer's numbers after that; `is_first`: the first purchase is another one than before."""

    purchases: int
    first_purchase_at: datetime | None
    spent: int
    is_first: bool


ADD_SQL = """
UPDATE customer
SET purchases = customer.purchases + more.purchases, spent = customer.spent + more.spent,
    first_purchase_at = least(customer.first_purchase_at, more.first_at)
FROM unnest($1::text[], $2::int[], $3::timestamptz[], $4::bigint[]) AS more (customer_id, purchases, first_at, spent)
WHERE customer.customer_id = more.customer_id
RETURNING customer.customer_id, new.purchases, new.first_purchase_at, new.spent,
          old.first_purchase_at IS DISTINCT FROM new.first_purchase_at AS is_first
"""


async def add(connection: Connection, counted: Sequence[Counted]) -> dict[str, Total]:
    """Add to the numbers of locked customers, each listed once; returns the new numbers."""
    if not counted:
        return {}
    rows = await connection.fetch(ADD_SQL, *map(list, zip(*counted, strict=True)))
    return {customer_id: Total(*total) for customer_id, *total in rows}
