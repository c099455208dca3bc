"""Orders and their refunds, reduced to what tiers depend on."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from services.tiers.rules.admission import Admission
from services.tiers.rules.refunding import Refunding
from services.tiers.rules.unread import QueriedRefunds, RefundQuery
from shared.contracts.lines import line_amounts
from shared.contracts.orders import Order, OrderKey, content_of_refund
from shared.contracts.refunds import Refund
from shared.postgres.ids import joined
from shared.postgres.orders import (
    RefundRow,
    Row,
    add_refunds,
    columns_of,
    key_of,
    order_of,
    refund_of,
    with_refunds,
)
from shared.postgres.pool import Connection

_ENCODER: Final = msgspec.json.Encoder()

NAMED_SQL = """
SELECT purchase.customer_id, purchase.order_id, source, purchased_at, currency, total::text AS total, lines, folded,
       digest, gone_at
FROM unnest(string_to_array($1, chr(31)), string_to_array($2, chr(31))) AS wanted (customer_id, order_id)
JOIN purchase ON purchase.customer_id = wanted.customer_id AND purchase.order_id = wanted.order_id
"""


async def load_named(
    connection: Connection, keys: Collection[OrderKey]
) -> tuple[dict[OrderKey, Order], dict[OrderKey, datetime]]:
    """Those of the orders that are recorded, without their refunds, and since when nothing of their money is kept."""
    if not keys:
        return {}, {}
    rows: Sequence[Row] = await connection.fetch(NAMED_SQL, *columns_of(keys))
    gone = {key_of(row): row["gone_at"] for row in rows if row["gone_at"] is not None}
    return {key_of(row): order_of(row, row["folded"]) for row in rows}, gone


LAST_REFUNDS_SQL = """
SELECT wanted.place, refund_id, refunded_at, amount::text AS amount, lines
FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[], $5::text[], $6::int[]) WITH ORDINALITY
    AS wanted (customer_id, order_id, until, until_id, line_id, count, place)
CROSS JOIN LATERAL (
    SELECT refund_id, refunded_at, amount, lines
    FROM refund
    WHERE refund.customer_id || '/' || refund.order_id = wanted.customer_id || '/' || wanted.order_id
      AND (refunded_at, refund_id COLLATE "C") <= (until, until_id COLLATE "C")
      AND (line_id IS NULL OR EXISTS (SELECT FROM json_array_elements(lines) AS line WHERE line ->> 0 = line_id))
    ORDER BY refunded_at DESC, refund_id COLLATE "C" DESC
    LIMIT wanted.count
) AS last
ORDER BY refunded_at DESC, refund_id COLLATE "C" DESC
"""


async def load_last_refunds(
    connection: Connection, queries: Sequence[tuple[OrderKey, RefundQuery]], stored: Mapping[OrderKey, Order]
) -> list[tuple[OrderKey, QueriedRefunds]]:
    """The results of queries for the last refunds of `stored` orders."""
    if not queries:
        return []
    columns = zip(*((*key, *query.until, query.pool, query.count) for key, query in queries), strict=True)
    rows: defaultdict[int, list[Row]] = defaultdict(list)
    for row in await connection.fetch(LAST_REFUNDS_SQL, *columns):
        rows[row["place"]].append(row)
    return [
        (key, QueriedRefunds(query, [refund_of(row, stored[key].purchase.currency) for row in rows[place]]))
        for place, (key, query) in enumerate(queries, 1)
    ]


OF_CUSTOMER_SQL = """
SELECT customer_id, order_id, source, purchased_at, currency, total::text AS total, lines, folded, digest
FROM purchase
WHERE customer_id = ANY($1::text[])
"""


async def load_all(connection: Connection, customer_ids: Sequence[str]) -> dict[str, list[Order]]:
    """All orders of customers with all their refunds: to record anew what refunds took, and to verify that."""
    rows: Sequence[Row] = await connection.fetch(OF_CUSTOMER_SQL, customer_ids)
    stored = {key_of(row): order_of(row, row["folded"]) for row in rows}
    orders: defaultdict[str, list[Order]] = defaultdict(list)
    for (customer_id, _), order in (await with_refunds(connection, stored)).items():
        orders[customer_id].append(order)
    return orders


async def save(connection: Connection, admission: Admission) -> None:
    """Write what was admitted: new orders, new refunds, and the state of the refunds of orders from before."""
    refunded = admission.refunded
    await _add_orders(
        connection, [_order_row(key, order, refunded.get(key)) for key, order in admission.orders.items()]
    )
    await save_refunding(connection, {key: refunded[key] for key in refunded if key not in admission.orders})
    await add_refunds(connection, [_refund_row(key, refund) for key, refund in admission.refunds])


ADD_SQL = """
INSERT INTO purchase (customer_id, order_id, source, purchased_at, currency, total, lines, digest, gone_at, folded)
SELECT customer_id, order_id, source, purchased_at, currency, total::numeric, nullif(lines, '')::json, digest, gone_at,
       coalesce(folded, '{}')::json
FROM unnest(string_to_array($1, chr(31)), string_to_array($2, chr(31)), string_to_array($3, chr(31)),
            string_to_array($4, chr(31)), string_to_array($5, chr(31)), string_to_array($6, chr(31)),
            $7::timestamptz[], $8::bigint[], $9::timestamptz[], $10::text[])
    AS new (customer_id, order_id, source, currency, total, lines, purchased_at, digest, gone_at, folded)
"""


async def _add_orders(connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    if rows:
        columns: list[Any] = list(zip(*rows, strict=True))
        await connection.execute(ADD_SQL, *map(joined, columns[:6]), *columns[6:])


REFUNDING_SQL = """
UPDATE purchase
SET gone_at = new.gone_at, folded = new.folded::json
FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[]) AS new (customer_id, order_id, gone_at, folded)
WHERE purchase.customer_id = new.customer_id AND purchase.order_id = new.order_id
"""


async def save_refunding(connection: Connection, refunded: Mapping[OrderKey, Refunding]) -> None:
    """Write the state of the refunds of recorded orders."""
    if refunded:
        rows = [(*key, *_state(refunding)) for key, refunding in refunded.items()]
        await connection.execute(REFUNDING_SQL, *zip(*rows, strict=True))


def _order_row(key: OrderKey, order: Order, refunding: Refunding | None) -> tuple[Any, ...]:
    purchase = order.purchase
    return (
        *(*key, order.source, purchase.currency, purchase.total, _to_json(line_amounts(purchase.lines))),
        *(order.time, order.content.digest),
        *(_state(refunding) if refunding else (None, None)),
    )


def _state(refunding: Refunding) -> tuple[datetime | None, str]:
    return refunding.gone_at, _ENCODER.encode(refunding.to_json()).decode()


def _refund_row(key: OrderKey, refund: Refund) -> RefundRow:
    lines = _to_json([(line.line_id, line.amount) for line in refund.lines])
    return RefundRow(*key, refund.refund_id, refund.time, refund.amount, lines, content_of_refund(refund).digest)


def _to_json(amounts: Sequence[tuple[str, str]]) -> str:
    """The amounts of lines as JSON; empty where there are no lines."""
    return _ENCODER.encode(amounts).decode() if amounts else ""
