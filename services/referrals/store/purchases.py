"""Orders of all customers, and their refunds."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from services.referrals.rules.fold import OrderKey
from services.referrals.rules.order import Order, amounts, purchase_of, refund_lines
from shared.contracts.envelope import Event
from shared.contracts.kept import Refund
from shared.contracts.shop import PurchaseCompleted
from shared.postgres.pool import Connection

ADD_ORDERS_SQL = """
INSERT INTO purchase (customer_id, order_id, source, purchased_at, currency, total, lines)
SELECT customer_id, order_id, source, purchased_at, currency, total::numeric, lines
FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::text[], $6::text[], $7::json[])
    AS new (customer_id, order_id, source, purchased_at, currency, total, lines)
ON CONFLICT (customer_id, order_id) DO NOTHING
RETURNING customer_id, order_id
"""


async def add_orders(connection: Connection, events: Collection[Event]) -> set[OrderKey]:
    """Record the orders that purchase events tell of, each once; returns those that are new."""
    if not events:
        return set()
    rows = await connection.fetch(ADD_ORDERS_SQL, *zip(*map(_order_row, events), strict=True))
    return {(row["customer_id"], row["order_id"]) for row in rows}


def _order_row(event: Event) -> tuple[Any, ...]:
    data = event.data
    assert isinstance(data, PurchaseCompleted)
    lines = amounts(data.lines) or None
    return data.customer_id, data.order_id, event.source, event.time, data.currency, data.total, lines


LOAD_ORDERS_SQL = """
SELECT customer_id, order_id, source, purchased_at, currency, total::text AS total, lines
FROM unnest($1::text[], $2::text[]) AS wanted (customer_id, order_id)
JOIN purchase USING (customer_id, order_id)
"""


async def load_orders(connection: Connection, keys: Collection[OrderKey]) -> dict[OrderKey, Order]:
    """The orders of these keys that are known, with their refunds."""
    if not keys:
        return {}
    rows = await connection.fetch(LOAD_ORDERS_SQL, *zip(*keys, strict=True))
    return await _with_refunds(connection, rows)


# Of a friend's orders, those within the window can qualify; of those before it, one tells all.
LOAD_HISTORY_SQL = """
SELECT customer_id, order_id, source, purchased_at, currency, total::text AS total, lines
FROM (
    SELECT DISTINCT ON (customer_id, order_id) purchase.*
    FROM unnest($1::text[], $2::timestamptz[], $3::timestamptz[]) AS asked (friend_id, signed_up_at, deadline)
    CROSS JOIN LATERAL (
        (SELECT * FROM purchase
         WHERE customer_id = friend_id AND purchased_at < signed_up_at
         ORDER BY purchased_at
         LIMIT 1)
        UNION ALL
        SELECT * FROM purchase
        WHERE customer_id = friend_id AND purchased_at BETWEEN signed_up_at AND deadline
    ) AS purchase
) AS found
"""


async def load_history(
    connection: Connection, asked: Collection[tuple[str, datetime, datetime]]
) -> dict[OrderKey, Order]:
    """Orders that matter to sign-ups, given as (friend, signed up at, deadline), with their refunds."""
    if not asked:
        return {}
    rows = await connection.fetch(LOAD_HISTORY_SQL, *zip(*asked, strict=True))
    return await _with_refunds(connection, rows)


LOAD_REFUNDS_SQL = """
SELECT customer_id, order_id, refund_id, refunded_at, amount::text AS amount, lines
FROM unnest($1::text[], $2::text[]) AS wanted (customer_id, order_id)
JOIN refund USING (customer_id, order_id)
"""


async def _with_refunds(connection: Connection, orders: Sequence[Any]) -> dict[OrderKey, Order]:
    if not orders:
        return {}
    currencies: dict[OrderKey, str] = {(row["customer_id"], row["order_id"]): row["currency"] for row in orders}
    refunds: dict[OrderKey, list[Refund]] = defaultdict(list)
    for row in await connection.fetch(LOAD_REFUNDS_SQL, *zip(*currencies, strict=True)):
        key = (row["customer_id"], row["order_id"])
        lines = refund_lines(row["lines"] or {})
        refunds[key].append(Refund(row["refund_id"], row["refunded_at"], currencies[key], row["amount"], lines))
    return {
        (row["customer_id"], row["order_id"]): Order(
            row["order_id"],
            row["source"],
            row["purchased_at"],
            purchase_of(row["currency"], row["total"], row["lines"] or {}),
            tuple(refunds[row["customer_id"], row["order_id"]]),
        )
        for row in orders
    }


ADD_REFUNDS_SQL = """
INSERT INTO refund (customer_id, order_id, refund_id, refunded_at, amount, lines)
SELECT customer_id, order_id, refund_id, refunded_at, amount::numeric, lines
FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::text[], $6::json[])
    AS new (customer_id, order_id, refund_id, refunded_at, amount, lines)
"""


async def add_refunds(connection: Connection, refunds: Iterable[tuple[OrderKey, Refund]]) -> None:
    """Record refunds that are new."""
    rows = [
        (*key, refund.refund_id, refund.time, refund.amount, amounts(refund.lines) or None) for key, refund in refunds
    ]
    if rows:
        await connection.execute(ADD_REFUNDS_SQL, *zip(*rows, strict=True))
