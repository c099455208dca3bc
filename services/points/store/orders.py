"""Orders, by customer and id."""

from collections.abc import Collection, Iterable
from typing import Any

from services.points.rules.books.state import Key, Order
from services.points.rules.books.tiers import Standing
from services.points.rules.program.limits import read_cuts
from services.points.store.documents import order_from_json
from shared.postgres.ids import joined
from shared.postgres.pool import Connection

ORDERS_SQL = """
SELECT customer_id, order_id, source, occurred_at, ordinal, rules_version, body, given, tier, multiplier, found,
       delivered_at, refunded
FROM purchase JOIN unnest(string_to_array($1, chr(31)), string_to_array($2, chr(31)))
     AS wanted (customer_id, order_id) USING (customer_id, order_id)
"""


async def orders_by_key(connection: Connection, keys: Collection[Key]) -> dict[Key, Order]:
    """Orders by customer and id."""
    names = joined(key[0] for key in keys), joined(key[1] for key in keys)
    return orders_by_row(await connection.fetch(ORDERS_SQL, *names))


def orders_by_row(rows: Iterable[Any]) -> dict[Key, Order]:
    """Orders of their rows, by customer and id."""
    return {
        (row["customer_id"], row["order_id"]): Order(
            order_id=row["order_id"],
            source=row["source"],
            occurred_at=row["occurred_at"],
            ordinal=row["ordinal"],
            rules_version=row["rules_version"],
            bought=order_from_json(row["customer_id"], row["order_id"], row["body"]),
            given=row["given"],
            standing=Standing(row["tier"], row["multiplier"]),
            cuts=read_cuts(row["found"]),
            delivered_at=row["delivered_at"],
            refunded=row["refunded"],
        )
        for row in rows
    }
