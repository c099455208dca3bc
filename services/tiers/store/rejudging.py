"""Customers with long histories who are judged again without a lock, while events of theirs arrive."""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from services.tiers.store.customers import Mark
from shared.postgres.pool import Connection

BEGIN_SQL = """
INSERT INTO rejudging (customer_id, until)
SELECT customer_id, $2 FROM unnest($1::text[]) AS begun (customer_id) ORDER BY customer_id
ON CONFLICT (customer_id) DO UPDATE SET until = excluded.until, late_from = NULL, late_for = NULL
"""


async def begin(connection: Connection, customer_ids: Collection[str], until: datetime) -> None:
    """Begin to judge locked customers: nobody else does before `until`, and what arrives from now on is noted."""
    if customer_ids:
        await connection.execute(BEGIN_SQL, list(customer_ids), until)


class Ended(NamedTuple):
    """A judging that ended; `late` is the mark of what arrived since it began, None if nothing did."""

    late: Mark | None


END_SQL = """
UPDATE rejudging SET until = $3
WHERE customer_id = $1 AND until = $2
RETURNING late_from, late_for
"""


async def end(connection: Connection, customer_id: str, until: datetime, rest: datetime) -> Ended | None:
    """End the judging of a locked customer that began with `until`; nobody begins another before `rest`.

    Returns None if it does not count, since somebody else judged the customer or began to.
    """
    row = await connection.fetchrow(END_SQL, customer_id, until, rest)
    if row is None:
        return None
    return Ended(Mark(row["late_from"], row["late_for"]) if row["late_from"] is not None else None)


STOP_SQL = """
DELETE FROM rejudging WHERE customer_id = ANY($1::text[])
"""


async def stop(connection: Connection, customer_ids: Collection[str]) -> None:
    """Let no judging of locked customers count that is going on."""
    await connection.execute(STOP_SQL, list(customer_ids))
