"""Orders of all customers, and their refunds."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

from services.referrals.rules.fold import OrderKey, RefundKey
from services.referrals.rules.order import Order, amounts, purchase_of, refund_lines
from shared.contracts.envelope import Event
from shared.contracts.kept import Refund
from shared.contracts.shop import PurchaseCompleted
from shared.postgres.pool import Connection


class Window(NamedTuple):
    """Which orders of a friend are asked for: from before the sign-up, and those that can qualify up to a deadline."""

    friend_id: str
    signed_up_at: datetime
    deadline: datetime
    currency: str
    minimum: str


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
    """The orders of these keys that are known, without their refunds."""
    if not keys:
        return {}
    return {_key(row): _order(row) for row in await connection.fetch(LOAD_ORDERS_SQL, *zip(*keys, strict=True))}


# Of a friend's orders from before the sign-up, one tells all, and so does the first that qualifies.
LOAD_HISTORY_SQL = """
SELECT customer_id, order_id, source, purchased_at, currency, total::text AS total, lines
FROM unnest($1::text[], $2::timestamptz[], $3::timestamptz[], $4::text[], $5::text[])
     AS asked (friend_id, signed_up_at, deadline, wanted, minimum)
CROSS JOIN LATERAL (
    (SELECT * FROM purchase WHERE customer_id = friend_id AND purchased_at < signed_up_at LIMIT 1)
    UNION ALL
    (SELECT *
     FROM purchase
     WHERE customer_id = friend_id AND purchased_at BETWEEN signed_up_at AND deadline
       AND currency = wanted AND total >= minimum::numeric
     ORDER BY purchased_at, order_id COLLATE "C"
     LIMIT 1)
) AS purchase
"""


async def load_history(connection: Connection, asked: Collection[Window]) -> dict[OrderKey, Order]:
    """The orders that matter to sign-ups, without their refunds."""
    if not asked:
        return {}
    rows = await connection.fetch(LOAD_HISTORY_SQL, *zip(*asked, strict=True))
    return {_key(row): _order(row) for row in rows}


# By itself each, or all refunds of an order would be read where the planner takes it for a small one.
NAMED_REFUNDS_SQL = """
SELECT wanted.customer_id, wanted.order_id, wanted.refund_id, refunded_at, amount::text AS amount, lines
FROM unnest($1::text[], $2::text[], $3::text[]) AS wanted (customer_id, order_id, refund_id)
CROSS JOIN LATERAL (
    SELECT refunded_at, amount, lines
    FROM refund
    WHERE refund.customer_id = wanted.customer_id AND refund.order_id = wanted.order_id
      AND refund.refund_id = wanted.refund_id
    LIMIT 1
) AS named
"""


async def load_refunds(
    connection: Connection, named: Collection[RefundKey], orders: Mapping[OrderKey, Order]
) -> dict[RefundKey, Refund]:
    """Those of the refunds that are known; they are of `orders`."""
    rows = await connection.fetch(NAMED_REFUNDS_SQL, *zip(*named, strict=True)) if named else ()
    return {(*_key(row), row["refund_id"]): _refund(row, orders[_key(row)]) for row in rows}


LOAD_REFUNDS_SQL = """
SELECT refund.customer_id, refund.order_id, refund_id, refunded_at, amount::text AS amount, lines
FROM unnest($1::text[], $2::text[]) AS wanted (customer_id, order_id)
JOIN refund ON refund.customer_id = wanted.customer_id AND refund.order_id = wanted.order_id
"""


async def with_refunds(connection: Connection, orders: Mapping[OrderKey, Order]) -> dict[OrderKey, Order]:
    """These orders with all their refunds."""
    if not orders:
        return {}
    refunds: dict[OrderKey, list[Refund]] = defaultdict(list)
    for row in await connection.fetch(LOAD_REFUNDS_SQL, *zip(*orders, strict=True)):
        refunds[_key(row)].append(_refund(row, orders[_key(row)]))
    return {key: replace(order, refunds=tuple(refunds[key])) for key, order in orders.items()}


def _key(row: Mapping[str, Any]) -> OrderKey:
    return row["customer_id"], row["order_id"]


def _order(row: Mapping[str, Any]) -> Order:
    bought = purchase_of(row["currency"], row["total"], row["lines"] or {})
    return Order(row["order_id"], row["source"], row["purchased_at"], bought, refunds=None)


def _refund(row: Mapping[str, Any], order: Order) -> Refund:
    lines = refund_lines(row["lines"] or {})
    return Refund(row["refund_id"], row["refunded_at"], order.purchase.currency, row["amount"], lines)


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
