"""Lots and holds: what a customer's points consist of, and of which ones they are reserved."""

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from services.points.rules.known import Hold
from services.points.rules.ledger import Lot
from shared.postgres.pool import Connection

OF_ORIGINS_SQL = """
SELECT id, customer_id, transaction_id, origin, rule, granted, remaining, held, spent, reversed, expired, pending,
       occurred_at, activates_at, cancels_at, expires_at
FROM lot JOIN unnest($1::text[], $2::text[]) AS wanted (customer_id, origin) USING (customer_id, origin)
"""


async def of_origins(connection: Connection, keys: Sequence[tuple[str, str]]) -> list[Lot]:
    """All lots that came from some origins of customers, also those that are used up."""
    rows = await connection.fetch(OF_ORIGINS_SQL, [key[0] for key in keys], [key[1] for key in keys])
    return [_lot(row) for row in rows]


OPEN_SQL = """
SELECT id, customer_id, transaction_id, origin, rule, granted, remaining, held, spent, reversed, expired, pending,
       occurred_at, activates_at, cancels_at, expires_at
FROM lot WHERE customer_id = ANY($1::text[]) AND (remaining > 0 OR held > 0)
UNION ALL
SELECT id, customer_id, transaction_id, origin, rule, granted, remaining, held, spent, reversed, expired, pending,
       occurred_at, activates_at, cancels_at, expires_at
FROM lot WHERE customer_id = ANY($1::text[]) AND pending AND cancels_at IS NOT NULL AND remaining = 0 AND held = 0
"""


async def open_lots(connection: Connection, customers: Sequence[str]) -> list[Lot]:
    """All lots of customers of which something is left, held or not; and those that wait for a delivery anyway."""
    return [_lot(row) for row in await connection.fetch(OPEN_SQL, customers)]


TO_SPEND_SQL = """
SELECT id, customer_id, transaction_id, origin, rule, granted, remaining, held, spent, reversed, expired, pending,
       occurred_at, activates_at, cancels_at, expires_at
FROM (
    SELECT *, sum(remaining) OVER (ORDER BY expires_at NULLS LAST, occurred_at, id) - remaining AS before
    FROM lot WHERE customer_id = $1 AND remaining > 0 AND NOT pending
) AS lot
WHERE before < $2
"""


async def to_spend(connection: Connection, customer: str, points: int) -> list[Lot]:
    """The available lots of a customer that so many points are taken from: soonest expiry, age, id."""
    return [_lot(row) for row in await connection.fetch(TO_SPEND_SQL, customer, points)]


BY_ID_SQL = """
SELECT id, customer_id, transaction_id, origin, rule, granted, remaining, held, spent, reversed, expired, pending,
       occurred_at, activates_at, cancels_at, expires_at
FROM lot WHERE id = ANY($1::uuid[])
"""


async def by_id(connection: Connection, ids: Collection[UUID]) -> list[Lot]:
    """Lots by their ids."""
    return [_lot(row) for row in await connection.fetch(BY_ID_SQL, ids)]


OPEN_HOLDS_SQL = """
SELECT id, customer_id, reference, points, portions, state, expires_at, created_at, captured, redemption_id
FROM hold WHERE customer_id = ANY($1::text[]) AND state = 'held'
"""


async def open_holds(connection: Connection, customers: Sequence[str]) -> dict[str, dict[UUID, Hold]]:
    """The holds of customers that are open, by customer and id."""
    found: dict[str, dict[UUID, Hold]] = {}
    for row in await connection.fetch(OPEN_HOLDS_SQL, customers):
        hold = hold_from_row(row)
        found.setdefault(hold.customer_id, {})[hold.id] = hold
    return found


def hold_from_row(row: Any) -> Hold:  # noqa: ANN401 asyncpg's Record has no types
    """A hold as it is stored."""
    portions = tuple((UUID(lot), points) for lot, points in row["portions"])
    return Hold(*tuple(row))._replace(portions=portions)


def _lot(row: Sequence[object]) -> Lot:
    return Lot(*row)  # type: ignore[arg-type]
