"""Customers: one row each, which is locked while events of the customer are applied."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from services.tiers.rules.customer import Standing
from services.tiers.rules.timeline import Entry
from services.tiers.store.fractions import from_columns, to_columns
from shared.postgres.pool import Connection

ENTER_SQL = """
INSERT INTO customer (customer_id)
SELECT customer_id FROM unnest($1::text[]) AS entered (customer_id) ORDER BY customer_id
ON CONFLICT (customer_id) DO NOTHING
"""

LOCK_SQL = """
SELECT customer_id, judged_at, purchased_at, spend, spend_divisor, tier, since, curve_until, loose
FROM customer
WHERE customer_id = ANY($1::text[])
ORDER BY customer_id
FOR UPDATE
"""


async def lock(connection: Connection, customer_ids: Iterable[str]) -> dict[str, Standing]:
    """Lock the rows of customers, in the order of their ids; a new customer gets a row."""
    wanted = sorted(set(customer_ids))
    # Rows are inserted before any is locked: a transaction that holds locks and then waits for another's new row would
    # wait out of order, and could deadlock.
    await connection.execute(ENTER_SQL, wanted)
    return {row["customer_id"]: _standing(row) for row in await connection.fetch(LOCK_SQL, wanted)}


FIND_SQL = """
SELECT customer_id, judged_at, purchased_at, spend, spend_divisor, tier, since, curve_until, loose
FROM customer
WHERE customer_id = $1
"""


async def find(connection: Connection, customer_id: str) -> Standing:
    """The standing of a customer, who may be unknown, without a lock."""
    row = await connection.fetchrow(FIND_SQL, customer_id)
    return _standing(row) if row else Standing(customer_id)


READ_SQL = """
SELECT customer_id, judged_at, purchased_at, spend, spend_divisor, tier, since, curve_until, loose
FROM customer
WHERE customer_id = ANY($1::text[])
"""


async def read(connection: Connection, customer_ids: Sequence[str]) -> dict[str, Standing]:
    """The standings of those customers who are known, without a lock."""
    return {row["customer_id"]: _standing(row) for row in await connection.fetch(READ_SQL, customer_ids)}


SAVE_SQL = """
UPDATE customer
SET judged_at = new.judged_at,
    purchased_at = new.purchased_at,
    spend = new.spend,
    spend_divisor = new.spend_divisor,
    tier = new.tier,
    since = new.since,
    curve_until = new.curve_until,
    loose = new.loose
FROM unnest($1::text[], $2::timestamptz[], $3::timestamptz[], $4::numeric[], $5::numeric[], $6::text[],
            $7::timestamptz[], $8::timestamptz[], $9::int[])
    AS new (customer_id, judged_at, purchased_at, spend, spend_divisor, tier, since, curve_until, loose)
WHERE customer.customer_id = new.customer_id
"""


async def save(connection: Connection, standings: Sequence[Standing]) -> None:
    """Write the standings of customers."""
    rows = [
        (
            standing.customer_id,
            standing.judged_at,
            standing.purchased_at,
            *to_columns(standing.spend),
            standing.last and standing.last.tier,
            standing.last and standing.last.effective_at,
            standing.curve_until,
            standing.loose,
        )
        for standing in standings
    ]
    if rows:
        await connection.execute(SAVE_SQL, *zip(*rows, strict=True))


def _standing(row: Mapping[str, Any]) -> Standing:
    return Standing(
        row["customer_id"],
        row["judged_at"],
        row["purchased_at"],
        from_columns(row["spend"], row["spend_divisor"]),
        None if row["tier"] is None else Entry(row["since"], row["tier"]),
        row["curve_until"],
        row["loose"],
    )
