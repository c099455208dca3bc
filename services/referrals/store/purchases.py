"""Orders of all customers, and their refunds."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple

import msgspec

from services.referrals.rules.program.compiled import Program
from shared.contracts.envelope import Event
from shared.contracts.lines import line_amounts
from shared.contracts.orders import Order, OrderKey, content_of_purchase, content_of_refund
from shared.contracts.refunds import Refund
from shared.contracts.shop import PurchaseCompleted, RefundLine
from shared.contracts.values import UNITS
from shared.postgres import orders
from shared.postgres.ids import joined
from shared.postgres.orders import RefundRow, columns_of, key_of, order_of
from shared.postgres.pool import Connection

_ENCODER: Final = msgspec.json.Encoder()


class Window(NamedTuple):
    """Asks for orders of a friend: one from before the sign-up, and the first `nth` that count until a deadline.

    `least`: see `least_totals`.
    """

    friend_id: str
    signed_up_at: datetime
    deadline: datetime
    nth: int
    least: Mapping[str, str]


def least_totals(program: Program) -> dict[str, str]:
    """The least total of an order that counts, as a decimal string by currency."""
    return {currency: f"{amount // UNITS}.{amount % UNITS:04}" for currency, amount in program.least.items()}


ADD_ORDERS_SQL = """
INSERT INTO purchase (customer_id, order_id, source, purchased_at, currency, total, lines, digest)
SELECT customer_id, order_id, source, purchased_at, currency, total::numeric, nullif(lines, '')::json, digest
FROM unnest(string_to_array($1, chr(31)), string_to_array($2, chr(31)), string_to_array($3, chr(31)),
            string_to_array($4, chr(31)), string_to_array($5, chr(31)), string_to_array($6, chr(31)),
            $7::timestamptz[], $8::bigint[])
    AS new (customer_id, order_id, source, currency, total, lines, purchased_at, digest)
ON CONFLICT (customer_id, order_id) DO NOTHING
RETURNING customer_id, order_id
"""


async def add_orders(connection: Connection, events: Collection[Event]) -> set[OrderKey]:
    """Record the orders of purchase events, each of another order; returns those that are new."""
    if not events:
        return set()
    columns: list[Any] = list(zip(*map(_order_row, events), strict=True))
    rows = await connection.fetch(ADD_ORDERS_SQL, *map(joined, columns[:6]), *columns[6:])
    return {key_of(row) for row in rows}


def _order_row(event: Event) -> tuple[Any, ...]:
    data = event.data
    assert isinstance(data, PurchaseCompleted)
    lines = _to_json(dict(line_amounts(data.lines)))
    digest = content_of_purchase(data, event.time).digest
    return data.customer_id, data.order_id, event.source, data.currency, data.total, lines, event.time, digest


LOAD_ORDERS_SQL = """
SELECT customer_id, order_id, source, purchased_at, currency, total::text AS total, lines, digest
FROM unnest(string_to_array($1, chr(31)), string_to_array($2, chr(31))) AS wanted (customer_id, order_id)
JOIN purchase USING (customer_id, order_id)
"""


async def load_orders(connection: Connection, keys: Collection[OrderKey]) -> dict[OrderKey, Order]:
    """Those of the orders that are recorded, without their refunds."""
    if not keys:
        return {}
    return {key_of(row): order_of(row) for row in await connection.fetch(LOAD_ORDERS_SQL, *columns_of(keys))}


LOAD_HISTORY_SQL = """
SELECT customer_id, order_id, source, purchased_at, currency, total::text AS total, lines, digest
FROM unnest($1::text[], $2::timestamptz[], $3::timestamptz[], $4::int[], $5::json[])
     AS asked (friend_id, signed_up_at, deadline, nth, least)
CROSS JOIN LATERAL (
    (SELECT * FROM purchase WHERE customer_id = friend_id AND purchased_at < signed_up_at LIMIT 1)
    UNION ALL
    (SELECT *
     FROM purchase
     WHERE customer_id = friend_id AND purchased_at BETWEEN signed_up_at AND deadline
       AND total >= (least ->> currency)::numeric
     ORDER BY purchased_at, order_id COLLATE "C"
     LIMIT nth)
) AS purchase
"""


async def load_history(connection: Connection, asked: Collection[Window]) -> dict[OrderKey, Order]:
    """The orders that decide about sign-ups, without their refunds."""
    if not asked:
        return {}
    rows = await connection.fetch(LOAD_HISTORY_SQL, *zip(*asked, strict=True))
    return {key_of(row): order_of(row) for row in rows}


async def add_refunds(connection: Connection, refunds: Iterable[tuple[OrderKey, Refund]]) -> None:
    """Record new refunds."""
    await orders.add_refunds(connection, [_refund_row(key, refund) for key, refund in refunds])


def _refund_row(key: OrderKey, refund: Refund) -> RefundRow:
    lines = _to_json(amounts(refund.lines))
    return RefundRow(*key, refund.refund_id, refund.time, refund.amount, lines, content_of_refund(refund).digest)


def amounts(lines: Iterable[RefundLine]) -> dict[str, str]:
    """The amounts of a refund's lines by line id; lines that share an id add up."""
    added: dict[str, str] = {}
    for line in lines:
        before = added.get(line.line_id)
        added[line.line_id] = line.amount if before is None else str(Decimal(before) + Decimal(line.amount))
    return added


def _to_json(lines: Mapping[str, str]) -> str:
    """The amounts of lines as JSON; empty where there are no lines."""
    return _ENCODER.encode(lines).decode() if lines else ""
