"""Orders and their refunds, as far as tiers depend on them."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any, Final

import msgspec

from services.tiers.rules.admission import Admission, Key, RefundKey, Step
from services.tiers.rules.customer import Leaving
from services.tiers.rules.order import Order, amounts, purchase_of, refund_lines
from services.tiers.rules.refunding import Read, Reading, Refunding
from services.tiers.store.fractions import from_columns, to_columns
from shared.contracts.kept import Refund
from shared.contracts.shop import Line, RefundLine
from shared.postgres.pool import Connection

Row = Mapping[str, Any]

_ENCODER: Final = msgspec.json.Encoder()

KNOWN_SQL = """
SELECT purchase.customer_id, purchase.order_id, source, purchased_at, currency, total::text AS total, lines, folded
FROM unnest($1::text[], $2::text[]) AS wanted (customer_id, order_id)
JOIN purchase ON purchase.customer_id = wanted.customer_id AND purchase.order_id = wanted.order_id
"""


async def load_known(connection: Connection, keys: Collection[Key]) -> dict[Key, Order]:
    """Those of the orders that are known, without their refunds."""
    return {_key(row): _order(row) for row in await connection.fetch(KNOWN_SQL, *_columns(keys))}


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
    connection: Connection, named: Collection[RefundKey], stored: Mapping[Key, Order]
) -> dict[RefundKey, Refund]:
    """Those of the refunds that are known; they are of `stored` orders."""
    rows = await connection.fetch(NAMED_REFUNDS_SQL, *zip(*named, strict=True)) if named else ()
    return {(*_key(row), row["refund_id"]): _refund(row, stored[_key(row)].purchase.currency) for row in rows}


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
    connection: Connection, wanted: Sequence[tuple[Key, Reading]], stored: Mapping[Key, Order]
) -> list[tuple[Key, Read]]:
    """The last refunds of `stored` orders that are asked for."""
    if not wanted:
        return []
    columns = zip(*((*key, *one.until, one.pool, one.count) for key, one in wanted), strict=True)
    found: defaultdict[int, list[Row]] = defaultdict(list)
    for row in await connection.fetch(LAST_REFUNDS_SQL, *columns):
        found[row["place"]].append(row)
    return [
        (key, Read(one, [_refund(row, stored[key].purchase.currency) for row in found[place]]))
        for place, (key, one) in enumerate(wanted, 1)
    ]


REFUNDS_OF_SQL = """
SELECT refund.customer_id, refund.order_id, refund_id, refunded_at, amount::text AS amount, refund.lines
FROM unnest($1::text[], $2::text[]) AS wanted (customer_id, order_id)
JOIN refund ON refund.customer_id = wanted.customer_id AND refund.order_id = wanted.order_id
"""


async def load_refunds_of(connection: Connection, orders: Mapping[Key, Order]) -> dict[Key, Order]:
    """These orders with all their refunds."""
    found: defaultdict[Key, list[Refund]] = defaultdict(list)
    for row in await connection.fetch(REFUNDS_OF_SQL, *_columns(orders)) if orders else ():
        found[_key(row)].append(_refund(row, orders[_key(row)].purchase.currency))
    return {key: replace(order, refunds=tuple(found[key])) for key, order in orders.items()}


LEAVING_SQL = """
SELECT customer_id, purchased_at, kept, kept_divisor
FROM unnest($1::text[], $2::timestamptz[], $3::timestamptz[]) AS wanted (customer_id, start, until)
CROSS JOIN LATERAL (
    SELECT purchased_at, kept, kept_divisor
    FROM purchase
    WHERE purchase.customer_id = wanted.customer_id AND currency = $4
      AND purchased_at >= wanted.start AND purchased_at < wanted.until
    LIMIT $5
) AS leaving
"""


async def load_leaving(
    connection: Connection, readings: Sequence[Leaving], currency: str, most: int
) -> dict[str, dict[int, Fraction] | None]:
    """What is kept of the orders in a currency, by customer and day (an ordinal); None: they are more than `most`."""
    found: dict[str, dict[int, Fraction] | None] = {}
    if not readings:
        return found
    columns = zip(*((one.customer_id, one.start, one.end) for one in readings), strict=True)
    rows: defaultdict[str, list[Row]] = defaultdict(list)
    for row in await connection.fetch(LEAVING_SQL, *columns, currency, most + 1):
        rows[row["customer_id"]].append(row)
    return {customer_id: _days(found) if len(found) <= most else None for customer_id, found in rows.items()}


def _days(rows: Iterable[Row]) -> dict[int, Fraction]:
    days: dict[int, Fraction] = {}
    for row in rows:
        day = row["purchased_at"].toordinal()
        days[day] = days.get(day, Fraction(0)) + from_columns(row["kept"], row["kept_divisor"])
    return days


OF_CUSTOMER_SQL = """
SELECT customer_id, order_id, source, purchased_at, currency, total::text AS total, lines, folded
FROM purchase
WHERE customer_id = ANY($1::text[])
"""


async def load_all(connection: Connection, customer_ids: Sequence[str]) -> dict[str, list[Order]]:
    """All orders of customers with all their refunds: for those from before there were curves, and to verify."""
    stored = {_key(row): _order(row) for row in await connection.fetch(OF_CUSTOMER_SQL, customer_ids)}
    found: defaultdict[str, list[Order]] = defaultdict(list)
    for (customer_id, _), order in (await load_refunds_of(connection, stored)).items():
        found[customer_id].append(order)
    return found


async def save(connection: Connection, admission: Admission) -> None:
    """Write what was admitted: new orders, new refunds, and what is kept now of the orders from before."""
    new = {_key_of(step): step.order for step in admission.steps if step.is_purchase}
    await _add_orders(connection, [_order_row(key, order, admission.refunded.get(key)) for key, order in new.items()])
    await _lower(connection, [(*key, *_kept(one)) for key, one in admission.refunded.items() if key not in new])
    await _add_refunds(
        connection, [_refund_row(_key_of(step), refund) for step in admission.steps for refund in step.refunds]
    )


# All of an order is kept of which no refund is known.
ADD_SQL = """
INSERT INTO purchase (customer_id, order_id, source, purchased_at, currency, total, lines, kept, kept_divisor, folded)
SELECT customer_id, order_id, source, purchased_at, currency, total::numeric, lines::json,
       coalesce(kept, total::numeric), coalesce(kept_divisor, 1), coalesce(folded, '{}')::json
FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::text[], $6::text[], $7::text[],
            $8::numeric[], $9::numeric[], $10::text[])
    AS new (customer_id, order_id, source, purchased_at, currency, total, lines, kept, kept_divisor, folded)
"""


async def _add_orders(connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    if rows:
        await connection.execute(ADD_SQL, *zip(*rows, strict=True))


LOWER_SQL = """
UPDATE purchase
SET kept = new.kept, kept_divisor = new.kept_divisor, folded = new.folded::json
FROM unnest($1::text[], $2::text[], $3::numeric[], $4::numeric[], $5::text[])
    AS new (customer_id, order_id, kept, kept_divisor, folded)
WHERE purchase.customer_id = new.customer_id AND purchase.order_id = new.order_id
"""


async def _lower(connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    if rows:
        await connection.execute(LOWER_SQL, *zip(*rows, strict=True))


ADD_REFUNDS_SQL = """
INSERT INTO refund (customer_id, order_id, refund_id, refunded_at, amount, lines)
SELECT customer_id, order_id, refund_id, refunded_at, amount::numeric, lines::json
FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::text[], $6::text[])
    AS new (customer_id, order_id, refund_id, refunded_at, amount, lines)
"""


async def _add_refunds(connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    if rows:
        await connection.execute(ADD_REFUNDS_SQL, *zip(*rows, strict=True))


def _key(row: Row) -> Key:
    return row["customer_id"], row["order_id"]


def _key_of(step: Step) -> Key:
    return step.event.customer_id, step.order.order_id


def _columns(keys: Iterable[Key]) -> tuple[list[str], list[str]]:
    pairs = list(keys)
    return [customer_id for customer_id, _ in pairs], [order_id for _, order_id in pairs]


def _order(row: Row) -> Order:
    bought = purchase_of(row["currency"], row["total"], row["lines"] or ())
    return Order(row["order_id"], row["source"], row["purchased_at"], bought, row["folded"])


def _refund(row: Row, currency: str) -> Refund:
    lines = refund_lines(row["lines"] or ())
    return Refund(row["refund_id"], row["refunded_at"], currency, row["amount"], lines)


def _order_row(key: Key, order: Order, refunding: Refunding | None) -> tuple[Any, ...]:
    bought = order.purchase
    return (
        *(*key, order.source, order.at, bought.currency, bought.total, _pairs(bought.lines)),
        *(_kept(refunding) if refunding else (None, None, None)),
    )


def _kept(refunding: Refunding) -> tuple[Any, ...]:
    return *to_columns(refunding.kept), _ENCODER.encode(refunding.to_json()).decode()


def _refund_row(key: Key, refund: Refund) -> tuple[Any, ...]:
    return (*key, refund.refund_id, refund.time, refund.amount, _pairs(refund.lines))


def _pairs(lines: Iterable[Line | RefundLine]) -> str | None:
    """Lines as JSON; as text, since the driver takes a list of lists for an array of two dimensions."""
    pairs = amounts(lines)
    return _ENCODER.encode(pairs).decode() if pairs else None
