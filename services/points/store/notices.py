"""Notices of points that will expire, and the days that the daily pipeline has done."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Final, NamedTuple
from uuid import UUID

from shared.postgres.pool import Connection

DAYS: Final = (1, 7, 30)
"""Numbers of days before an expiry at which customers get a notice."""

MOST: Final = 2000
"""Number of endings that one statement reads."""


class Ending(NamedTuple):
    """Points of a customer that expire at one instant, within `days`; the transaction granted some of them."""

    customer_id: str
    expires_at: datetime
    days: int
    points: int
    transaction_id: UUID


ENDINGS_SQL = """
SELECT customer_id, expires_at,
       CASE WHEN expires_at <= $2 THEN 1 WHEN expires_at <= $3 THEN 7 ELSE 30 END AS days,
       sum(remaining)::bigint AS points, (array_agg(transaction_id ORDER BY id))[1] AS transaction_id
FROM lot
WHERE remaining > 0 AND NOT pending AND expires_at > $1 AND expires_at <= $4
  AND (customer_id, expires_at) > ($5, $6)
GROUP BY customer_id, expires_at
ORDER BY customer_id, expires_at
LIMIT $7
"""


async def endings(
    connection: Connection, now: datetime, ends: tuple[datetime, ...], after: tuple[str, datetime]
) -> list[Ending]:
    """Points that expire within 1, 7 and 30 days (until `ends`), by customer and instant, after the key `after`."""
    return [Ending(*row) for row in await connection.fetch(ENDINGS_SQL, now, *ends, *after, MOST)]


KEEP_SQL = """
INSERT INTO expiry_notice (customer_id, expires_at, days)
SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::smallint[])
ON CONFLICT (customer_id, expires_at, days) DO NOTHING
RETURNING customer_id, expires_at, days
"""


async def keep(connection: Connection, endings: Sequence[Ending]) -> set[tuple[str, datetime, int]]:
    """Store notices; returns the keys (customer, instant, days) of those that are new."""
    columns = [list(column) for column in zip(*(ending[:3] for ending in endings), strict=True)]
    rows = await connection.fetch(KEEP_SQL, *columns)
    return {(row["customer_id"], row["expires_at"], row["days"]) for row in rows}


DAYS_DONE_SQL = """
SELECT step, day FROM day_done
"""


async def days_done(connection: Connection) -> dict[str, date]:
    """By step of the pipeline: the last day that it has done."""
    return {row["step"]: row["day"] for row in await connection.fetch(DAYS_DONE_SQL)}


DONE_SQL = """
INSERT INTO day_done (step, day) VALUES ($1, $2)
ON CONFLICT (step) DO UPDATE SET day = greatest(day_done.day, excluded.day)
"""


async def done(connection: Connection, step: str, day: date) -> None:
    """Note that a step has done a day."""
    await connection.execute(DONE_SQL, step, day)
