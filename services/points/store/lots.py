"""Lots and holds: what a customer's points consist of, and of which ones they are reserved."""

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
    """The lots that came from some origins of customers of which something is left, waits, or was lost to expiry."""
    rows = await connection.fetch(OF_ORIGINS_SQL, [key[0] for key in keys], [key[1] for key in keys])
    return [_lot(row) for row in rows]


DUE_SQL = """
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


async def due(connection: Connection, customers: Sequence[str], now: datetime) -> list[Lot]:
    """The lots of customers that by now have to be activated, given up, or to expire."""
    return [_lot(row) for row in await connection.fetch(DUE_SQL, customers, now)]


NEXT_DUE_SQL = """
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


async def next_due(connection: Connection, customers: Sequence[str], now: datetime) -> dict[str, datetime | None]:
    """By customer: the first instant after now at which something falls due, as it is stored."""
    return dict(map(tuple, await connection.fetch(NEXT_DUE_SQL, customers, now)))


MANY: Final = 1000
"""More lots than this that are due for one customer are applied by one statement, where they can be."""

MANY_DUE_SQL = """
SELECT customer_id FROM unnest($1::text[]) AS wanted (customer_id)
WHERE (SELECT count(*) FROM (
    SELECT FROM lot WHERE lot.customer_id = wanted.customer_id AND remaining > 0 AND NOT pending AND expires_at <= $2
    UNION ALL
    SELECT FROM lot WHERE lot.customer_id = wanted.customer_id AND pending AND (remaining > 0 OR activates_at IS NULL)
                      AND coalesce(activates_at, cancels_at) <= $2
    LIMIT $3
) AS found) = $3
"""


async def many_due(connection: Connection, customers: Sequence[str], now: datetime) -> list[str]:
    """Those of the customers for whom more than `MANY` lots are due by now."""
    return [row["customer_id"] for row in await connection.fetch(MANY_DUE_SQL, customers, now, MANY + 1)]


BY_ID_SQL = """
SELECT id, customer_id, transaction_id, origin, rule, granted, remaining, held, spent, reversed, expired, pending,
       occurred_at, activates_at, cancels_at, expires_at
FROM lot WHERE id = ANY($1::uuid[])
"""


async def by_id(connection: Connection, ids: Collection[UUID]) -> list[Lot]:
    """Lots by their ids."""
    return [_lot(row) for row in await connection.fetch(BY_ID_SQL, ids)]


DUE_HOLDS_SQL = """
SELECT id, customer_id, reference, points, portions, state, expires_at, created_at, captured, redemption_id
FROM hold WHERE customer_id = ANY($1::text[]) AND state = 'held' AND expires_at <= $2
"""


async def due_holds(connection: Connection, customers: Sequence[str], now: datetime) -> list[Hold]:
    """The holds of customers that have run out by now."""
    return [hold_from_row(row) for row in await connection.fetch(DUE_HOLDS_SQL, customers, now)]


def hold_from_row(row: Any) -> Hold:  # noqa: ANN401 asyncpg's Record has no types
    """A hold as it is stored."""
    portions = tuple((UUID(lot), points) for lot, points in row["portions"])
    return Hold(*tuple(row))._replace(portions=portions)


def _lot(row: Sequence[object]) -> Lot:
    return Lot(*row)  # type: ignore[arg-type]
