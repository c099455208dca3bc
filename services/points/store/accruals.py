"""Accruals: what earned points besides orders."""

from collections.abc import Collection, Iterable
from typing import Any

from services.points.rules.books.state import Accrual, Key
from services.points.rules.program.limits import read_cuts
from shared.postgres.pool import Connection

ACCRUALS_SQL = """
SELECT customer_id, origin, event, occurred_at, rules_version, facts, given, tier, found, withdrawn
FROM accrual JOIN unnest($1::text[], $2::text[]) AS wanted (customer_id, origin) USING (customer_id, origin)
"""


async def accruals_by_key(connection: Connection, keys: Collection[Key]) -> dict[Key, Accrual]:
    """Accruals by customer and origin."""
    return accruals_by_row(await connection.fetch(ACCRUALS_SQL, [key[0] for key in keys], [key[1] for key in keys]))


def accruals_by_row(rows: Iterable[Any]) -> dict[Key, Accrual]:
    """Accruals of their rows, by customer and origin."""
    return {
        (row["customer_id"], row["origin"]): Accrual(
            origin=row["origin"],
            on=row["event"],
            occurred_at=row["occurred_at"],
            rules_version=row["rules_version"],
            facts=row["facts"],
            given=row["given"],
            tier=row["tier"],
            cuts=read_cuts(row["found"]),
            withdrawn=row["withdrawn"],
        )
        for row in rows
    }
