"""Dates of birth of customers."""

from collections.abc import Collection, Iterable
from datetime import date

from services.points.rules.books.births import Birth
from shared.postgres.pool import Connection

LOAD_SQL = """
SELECT customer_id, born, told_at, registered_at, erased_at FROM birth WHERE customer_id = ANY($1::text[])
"""


async def load(connection: Connection, customers: Collection[str]) -> dict[str, Birth]:
    """The stored dates of birth, with the times of registration and erasure, by customer."""
    rows = await connection.fetch(LOAD_SQL, list(customers))
    return {row["customer_id"]: Birth(*tuple(row)[1:]) for row in rows}


SAVE_SQL = """
INSERT INTO birth (customer_id, born, told_at, registered_at, erased_at)
SELECT * FROM unnest($1::text[], $2::date[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[])
ON CONFLICT (customer_id) DO UPDATE
SET born = excluded.born, told_at = excluded.told_at, registered_at = excluded.registered_at,
    erased_at = excluded.erased_at
"""


async def save(connection: Connection, births: Iterable[tuple[str, Birth]]) -> None:
    """Insert or replace dates of birth."""
    rows = [(customer, *birth) for customer, birth in births]
    await connection.execute(SAVE_SQL, *map(list, zip(*rows, strict=True)))


BORN_ON_SQL = """
SELECT customer_id, born FROM birth
WHERE born IS NOT NULL AND extract(month FROM born) * 100 + extract(day FROM born) = ANY($1::numeric[])
  AND customer_id > $2
ORDER BY customer_id
LIMIT $3
"""


async def born_on(connection: Connection, days: Collection[tuple[int, int]], after: str, limit: int) -> dict[str, date]:
    """Customers born on any of the days (month, day), sorted by id, with ids greater than `after`."""
    numbers = [month * 100 + day for month, day in days]
    rows = await connection.fetch(BORN_ON_SQL, numbers, after, limit)
    return {row["customer_id"]: row["born"] for row in rows}
