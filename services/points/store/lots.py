"""Lots, and the holds that reserve their points."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from services.points.rules.books.state import Hold
from services.points.rules.ledger.lots import Lot
from shared.postgres.pool import Connection

OF_ORIGINS_SQL = """
SELECT id, customer_id, transaction_id, origin, rule, granted, remaining, held, spent, reversed, expired, pending,
       occurred_at, activates_at, cancels_at, expires_at
FROM lot JOIN unnest($1::text[], $2::text[]) AS wanted (customer_id, origin) USING (customer_id, origin)
WHERE remaining > 0 OR pending OR expired > 0
"""


async def of_origins(connection: Connection, keys: Sequence[tuple[str, str]]) -> list[Lot]:
    """The lots of customers' origins that have points left, wait for a delivery, or lost points to expiry."""
    rows = await connection.fetch(OF_ORIGINS_SQL, [key[0] for key in keys], [key[1] for key in keys])
    return [_lot(row) for row in rows]


MATURED_SQL = """
SELECT id, customer_id, transaction_id, origin, rule, granted, remaining, held, spent, reversed, expired, pending,
       occurred_at, activates_at, cancels_at, expires_at
FROM lot
WHERE customer_id = ANY($1::text[]) AND remaining > 0 AND NOT pending AND expires_at <= $2
UNION ALL
SELECT id, customer_id, transaction_id, origin, rule, granted, remaining, held, spent, reversed, expired, pending,
       occurred_at, activates_at, cancels_at, expires_at
FROM lot
WHERE customer_id = ANY($1::text[]) AND pending AND (remaining > 0 OR activates_at IS NULL)
  AND coalesce(activates_at, cancels_at) <= $2
"""


async def matured(connection: Connection, customers: Sequence[str], now: datetime) -> list[Lot]:
    """The lots of customers that have matured by now: to be activated, to be given up, or to expire."""
    return [_lot(row) for row in await connection.fetch(MATURED_SQL, customers, now)]


NEXT_MATURITY_SQL = """
SELECT customer_id, least(
    (SELECT min(expires_at) FROM lot
     WHERE lot.customer_id = wanted.customer_id AND remaining > 0 AND NOT pending AND expires_at > $2),
    (SELECT min(coalesce(activates_at, cancels_at)) FROM lot
     WHERE lot.customer_id = wanted.customer_id AND pending AND (remaining > 0 OR activates_at IS NULL)
       AND coalesce(activates_at, cancels_at) > $2),
    (SELECT min(expires_at) FROM hold
     WHERE hold.customer_id = wanted.customer_id AND state = 'held' AND expires_at > $2))
FROM unnest($1::text[]) AS wanted (customer_id)
"""


async def next_maturity(connection: Connection, customers: Sequence[str], now: datetime) -> dict[str, datetime | None]:
    """By customer: the first instant after now at which a stored lot or hold matures."""
    return dict(map(tuple, await connection.fetch(NEXT_MATURITY_SQL, customers, now)))


MANY: Final = 1000
"""If more lots than this of one customer have matured, one statement applies them where it can."""

MANY_MATURED_SQL = """
SELECT customer_id FROM unnest($1::text[]) AS wanted (customer_id)
WHERE (SELECT count(*) FROM (
    SELECT FROM lot WHERE lot.customer_id = wanted.customer_id AND remaining > 0 AND NOT pending AND expires_at <= $2
    UNION ALL
    SELECT FROM lot WHERE lot.customer_id = wanted.customer_id AND pending AND (remaining > 0 OR activates_at IS NULL)
                      AND coalesce(activates_at, cancels_at) <= $2
    LIMIT $3
) AS matured) = $3
"""


async def customers_with_many_matured(connection: Connection, customers: Sequence[str], now: datetime) -> list[str]:
    """The customers with more than `MANY` lots that have matured by now."""
    return [row["customer_id"] for row in await connection.fetch(MANY_MATURED_SQL, customers, now, MANY + 1)]


BY_ID_SQL = """
SELECT id, customer_id, transaction_id, origin, rule, granted, remaining, held, spent, reversed, expired, pending,
       occurred_at, activates_at, cancels_at, expires_at
FROM lot WHERE id = ANY($1::uuid[])
"""


async def by_id(connection: Connection, ids: Collection[UUID]) -> list[Lot]:
    """Lots by their ids."""
    return [_lot(row) for row in await connection.fetch(BY_ID_SQL, ids)]


MATURED_HOLDS_SQL = """
SELECT id, customer_id, reference, points, portions, state, expires_at, created_at, captured, redemption_id
FROM hold WHERE customer_id = ANY($1::text[]) AND state = 'held' AND expires_at <= $2
"""


async def matured_holds(connection: Connection, customers: Sequence[str], now: datetime) -> list[Hold]:
    """The open holds of customers that have expired by now."""
    return [hold_from_row(row) for row in await connection.fetch(MATURED_HOLDS_SQL, customers, now)]


def hold_from_row(row: Any) -> Hold:  # noqa: ANN401 asyncpg's Record has no types
    """The hold of a row."""
    portions = tuple((UUID(lot), points) for lot, points in row["portions"])
    return Hold(*tuple(row))._replace(portions=portions)


def _lot(row: Sequence[object]) -> Lot:
    return Lot(*row)  # type: ignore[arg-type]
