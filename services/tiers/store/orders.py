"""Orders and their refunds, as far as tiers depend on them."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from pydantic_core import to_json

from services.tiers.rules.admission import Key, Step
from services.tiers.rules.customer import Leaving, Rejudging
from services.tiers.rules.order import Order, amounts, purchase_of, refund_lines
from services.tiers.store.fractions import from_columns, to_columns
from shared.contracts.kept import Refund
from shared.contracts.shop import Line, RefundLine
from shared.postgres.pool import Connection

Row = Mapping[str, Any]


async def load_known(connection: Connection, keys: Collection[Key], refunded: Collection[Key]) -> dict[Key, Order]:
    """Those of the orders that are known; with their refunds where they are among the `refunded` ones."""
    rows = await _load_orders(connection, keys)
    touched = [key for key in map(_key, rows) if key in refunded]
    return _assemble(rows, await _load_refunds(connection, touched) if touched else ())


KNOWN_SQL = """
SELECT purchase.customer_id, purchase.order_id, source, purchased_at, currency, total::text AS total, lines
FROM unnest($1::text[], $2::text[]) AS wanted (customer_id, order_id)
JOIN purchase ON purchase.customer_id = wanted.customer_id AND purchase.order_id = wanted.order_id
"""


async def _load_orders(connection: Connection, keys: Collection[Key]) -> Sequence[Row]:
    return await connection.fetch(KNOWN_SQL, *_columns(keys))


KNOWN_REFUNDS_SQL = """
SELECT refund.customer_id, refund.order_id, refund_id, refunded_at, amount::text AS amount, lines
FROM unnest($1::text[], $2::text[]) AS wanted (customer_id, order_id)
JOIN refund ON refund.customer_id = wanted.customer_id AND refund.order_id = wanted.order_id
"""


async def _load_refunds(connection: Connection, keys: Collection[Key]) -> Sequence[Row]:
    return await connection.fetch(KNOWN_REFUNDS_SQL, *_columns(keys))


LEAVING_SQL = """
SELECT purchase.customer_id, purchased_at, kept, kept_divisor
FROM unnest($1::text[], $2::timestamptz[], $3::timestamptz[]) AS wanted (customer_id, start, until)
JOIN purchase ON purchase.customer_id = wanted.customer_id
             AND purchased_at >= wanted.start AND purchased_at < wanted.until
WHERE currency = $4
"""


async def load_leaving(
    connection: Connection, readings: Sequence[Leaving], currency: str
) -> dict[str, dict[int, Fraction]]:
    """What is kept of the orders in a currency, by customer and day (an ordinal)."""
    found: dict[str, dict[int, Fraction]] = {}
    if not readings:
        return found
    columns = zip(*((one.customer_id, one.start, one.end) for one in readings), strict=True)
    for row in await connection.fetch(LEAVING_SQL, *columns, currency):
        days = found.setdefault(row["customer_id"], {})
        day = row["purchased_at"].toordinal()
        days[day] = days.get(day, Fraction(0)) + from_columns(row["kept"], row["kept_divisor"])
    return found


async def load_past(connection: Connection, readings: Sequence[Rejudging], currency: str) -> dict[str, list[Order]]:
    """Orders in a currency, with the refunds that took something of them, by customer."""
    found: dict[str, list[Order]] = {}
    if not readings:
        return found
    columns = tuple(zip(*((one.customer_id, one.start) for one in readings), strict=True))
    rows = await _load_past_orders(connection, columns, currency)
    refunds = await _load_past_refunds(connection, columns, currency)
    for (customer_id, _), order in _assemble(rows, refunds).items():
        found.setdefault(customer_id, []).append(order)
    return found


# Lines matter only to refunds: those of an order that nothing was taken of stay where they are.
PAST_SQL = """
SELECT purchase.customer_id, order_id, source, purchased_at, currency, total::text AS total,
       CASE WHEN kept = total AND kept_divisor = 1 THEN NULL ELSE lines END AS lines
FROM unnest($1::text[], $2::timestamptz[]) AS wanted (customer_id, start)
JOIN purchase ON purchase.customer_id = wanted.customer_id AND purchased_at >= wanted.start
WHERE currency = $3
"""


async def _load_past_orders(connection: Connection, columns: Sequence[Any], currency: str) -> Sequence[Row]:
    return await connection.fetch(PAST_SQL, *columns, currency)


PAST_REFUNDS_SQL = """
SELECT refund.customer_id, refund.order_id, refund_id, refunded_at, amount::text AS amount, refund.lines
FROM unnest($1::text[], $2::timestamptz[]) AS wanted (customer_id, start)
JOIN purchase ON purchase.customer_id = wanted.customer_id AND purchased_at >= wanted.start
JOIN refund ON refund.customer_id = purchase.customer_id AND refund.order_id = purchase.order_id
WHERE currency = $3 AND NOT (kept = total AND kept_divisor = 1)
"""


async def _load_past_refunds(connection: Connection, columns: Sequence[Any], currency: str) -> Sequence[Row]:
    return await connection.fetch(PAST_REFUNDS_SQL, *columns, currency)


async def save(connection: Connection, steps: Sequence[Step]) -> None:
    """Write what steps brought: new orders, new refunds, and what is kept now of the orders from before."""
    orders = {(step.event.customer_id, step.order.order_id): step.order for step in steps}
    new = {(step.event.customer_id, step.order.order_id) for step in steps if step.before is None}
    await _add_orders(connection, [_order_row(key, order) for key, order in orders.items() if key in new])
    await _lower(connection, [(*key, *to_columns(order.kept)) for key, order in orders.items() if key not in new])
    await _add_refunds(connection, [row for step in steps for row in _refund_rows(step)])


ADD_SQL = """
INSERT INTO purchase (customer_id, order_id, source, purchased_at, currency, total, lines, kept, kept_divisor)
SELECT customer_id, order_id, source, purchased_at, currency, total::numeric, lines::json, kept, kept_divisor
FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::text[], $6::text[], $7::text[],
            $8::numeric[], $9::numeric[])
    AS new (customer_id, order_id, source, purchased_at, currency, total, lines, kept, kept_divisor)
"""


async def _add_orders(connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    if rows:
        await connection.execute(ADD_SQL, *zip(*rows, strict=True))


LOWER_SQL = """
UPDATE purchase
SET kept = new.kept, kept_divisor = new.kept_divisor
FROM unnest($1::text[], $2::text[], $3::numeric[], $4::numeric[]) AS new (customer_id, order_id, kept, kept_divisor)
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


def _columns(keys: Iterable[Key]) -> tuple[list[str], list[str]]:
    pairs = list(keys)
    return [customer_id for customer_id, _ in pairs], [order_id for _, order_id in pairs]


def _assemble(rows: Iterable[Row], refunds: Iterable[Row]) -> dict[Key, Order]:
    """Orders with their refunds."""
    of_order: defaultdict[Key, list[Row]] = defaultdict(list)
    for row in refunds:
        of_order[_key(row)].append(row)
    return {_key(row): _order(row, of_order[_key(row)]) for row in rows}


def _order(row: Row, refunds: Iterable[Row]) -> Order:
    currency = row["currency"]
    return Order(
        row["order_id"],
        row["source"],
        row["purchased_at"],
        purchase_of(currency, row["total"], row["lines"] or ()),
        tuple(
            Refund(one["refund_id"], one["refunded_at"], currency, one["amount"], refund_lines(one["lines"] or ()))
            for one in refunds
        ),
    )


def _order_row(key: Key, order: Order) -> tuple[Any, ...]:
    bought = order.purchase
    return (
        *(*key, order.source, order.at, bought.currency, bought.total, _pairs(bought.lines)),
        *to_columns(order.kept),
    )


def _refund_rows(step: Step) -> list[tuple[Any, ...]]:
    """A refund that came after its order, or those that had waited for it."""
    known = len(step.before.refunds) if step.before else 0
    return [
        (step.event.customer_id, step.order.order_id, one.refund_id, one.time, one.amount, _pairs(one.lines))
        for one in step.order.refunds[known:]
    ]


def _pairs(lines: Iterable[Line | RefundLine]) -> str | None:
    """Lines as JSON; as text, since the driver takes a list of lists for an array of two dimensions."""
    pairs = amounts(lines)
    return to_json(pairs).decode() if pairs else None
