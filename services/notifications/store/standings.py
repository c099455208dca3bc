"""Where customers stand, as events tell: tier, points, purchases."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from shared.postgres.pool import Connection


class Row(NamedTuple):
    """A customer's tier, available points, points that left the balance, and first purchase.

    `locale` and `time_zone` are what the customer prefers to the profile's.
    """

    tier: str | None = None
    available: int = 0
    spent: int = 0
    first_purchase_at: datetime | None = None
    locale: str | None = None
    time_zone: str | None = None


LOAD_SQL = """
SELECT customer.customer_id, tier, coalesce(available, 0), spent, first_purchase_at, locale, time_zone
FROM customer LEFT JOIN preference USING (customer_id)
WHERE customer.customer_id = ANY($1::text[])
"""


async def load(connection: Connection, customer_ids: Collection[str]) -> dict[str, Row]:
    """Where customers stand; those of whom nobody has heard are absent."""
    if not customer_ids:
        return {}
    rows = await connection.fetch(LOAD_SQL, list(customer_ids))
    return {customer_id: Row(*standing) for customer_id, *standing in rows}


class Points(NamedTuple):
    """What templates show of where a customer stands."""

    tier: str | None = None
    available: int = 0
    pending: int = 0


POINTS_SQL = """
SELECT customer_id, tier, coalesce(available, 0), coalesce(pending, 0) FROM customer WHERE customer_id = ANY($1::text[])
"""


async def points(connection: Connection, customer_ids: Collection[str]) -> dict[str, Points]:
    """The tier and the points of customers."""
    if not customer_ids:
        return {}
    rows = await connection.fetch(POINTS_SQL, list(customer_ids))
    return {customer_id: Points(*standing) for customer_id, *standing in rows}


class Learned(NamedTuple):
    """What events told of a customer last; null: nothing."""

    customer_id: str
    tier: str | None
    available: int | None
    pending: int | None


LEARN_SQL = """
UPDATE customer
SET tier = coalesce(new.tier, customer.tier), available = coalesce(new.available, customer.available),
    pending = coalesce(new.pending, customer.pending)
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[]) AS new (customer_id, tier, available, pending)
WHERE customer.customer_id = new.customer_id
"""


async def learn(connection: Connection, learned: Sequence[Learned]) -> None:
    """Store what events told of locked customers, each listed once."""
    if learned:
        await connection.execute(LEARN_SQL, *map(list, zip(*learned, strict=True)))
