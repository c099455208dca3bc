"""The tables `purchase` and `refund` of services that store the money and the times of orders, but not the goods.

They store the id and the amount of each line, as JSON: a list of pairs or an object; both are read here.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, NamedTuple, cast

from shared.contracts.orders import Content, Order, OrderKey, RefundKey
from shared.contracts.refunds import Purchase, Refund
from shared.contracts.shop import Line, RefundLine
from shared.postgres.checks import Query
from shared.postgres.ids import joined
from shared.postgres.pool import Connection

Row = Mapping[str, Any]

StoredLines = Mapping[str, str] | Iterable[tuple[str, str]] | None
"""The amounts of lines by line id, as pairs or as an object; None: there are no lines."""


def key_of(row: Row) -> OrderKey:
    """The order that a row is about."""
    return row["customer_id"], row["order_id"]


def columns_of(keys: Iterable[OrderKey]) -> tuple[str, str]:
    """Customer ids and order ids, each as one parameter (see `joined`)."""
    pairs = list(keys)
    return joined([customer_id for customer_id, _ in pairs]), joined([order_id for _, order_id in pairs])


def order_of(row: Row, folded: Mapping[str, Any] | None = None) -> Order:
    """The order of a row of `purchase`; its refunds are not read."""
    purchase = purchase_of(row["currency"], row["total"], row["lines"])
    return Order(
        *(row["order_id"], row["source"], row["purchased_at"], purchase), None, folded=folded, digest=row["digest"]
    )


def refund_of(row: Row, currency: str) -> Refund:
    """The refund of a row of `refund`, of an order in a currency."""
    return Refund(row["refund_id"], row["refunded_at"], currency, row["amount"], refund_lines_of(row["lines"]))


def purchase_of(currency: str, total: str, lines: StoredLines) -> Purchase:
    """A stored purchase. Its lines have no goods and quantities: the money that is kept does not depend on them."""
    return Purchase(currency, total, tuple(Line(line_id, "-", 0, amount) for line_id, amount in _pairs(lines)))


def refund_lines_of(lines: StoredLines) -> tuple[RefundLine, ...]:
    """The stored lines of a refund, without quantities."""
    return tuple(RefundLine(line_id, 0, amount) for line_id, amount in _pairs(lines))


def _pairs(lines: StoredLines) -> Iterable[tuple[str, str]]:
    return cast("Mapping[str, str]", lines).items() if isinstance(lines, Mapping) else lines or ()


# Each refund is looked up alone: the planner may underestimate an order and read all its refunds.
NAMED_REFUNDS_SQL = """
SELECT wanted.customer_id, wanted.order_id, wanted.refund_id, refunded_at, amount::text AS amount, digest
FROM unnest(string_to_array($1, chr(31)), string_to_array($2, chr(31)), string_to_array($3, chr(31)))
    AS wanted (customer_id, order_id, refund_id)
CROSS JOIN LATERAL (
    SELECT refunded_at, amount, digest
    FROM refund
    WHERE refund.customer_id = wanted.customer_id AND refund.order_id = wanted.order_id
      AND refund.refund_id = wanted.refund_id
    LIMIT 1
) AS named
"""


async def load_contents(connection: Connection, named: Collection[RefundKey]) -> dict[RefundKey, Content]:
    """The contents of those of the named refunds that are recorded."""
    if not named:
        return {}
    rows = await connection.fetch(NAMED_REFUNDS_SQL, *map(joined, zip(*named, strict=True)))
    return {(*key_of(row), row["refund_id"]): Content(row["refunded_at"], row["amount"], row["digest"]) for row in rows}


REFUNDS_OF_SQL = """
SELECT refund.customer_id, refund.order_id, refund_id, refunded_at, amount::text AS amount, refund.lines
FROM unnest(string_to_array($1, chr(31)), string_to_array($2, chr(31))) AS wanted (customer_id, order_id)
JOIN refund ON refund.customer_id = wanted.customer_id AND refund.order_id = wanted.order_id
"""


async def with_refunds(connection: Connection, orders: Mapping[OrderKey, Order]) -> dict[OrderKey, Order]:
    """These orders with all their refunds."""
    if not orders:
        return {}
    refunds: defaultdict[OrderKey, list[Refund]] = defaultdict(list)
    for row in await connection.fetch(REFUNDS_OF_SQL, *columns_of(orders)):
        key = key_of(row)
        refunds[key].append(refund_of(row, orders[key].purchase.currency))
    return {key: replace(order, refunds=tuple(refunds[key])) for key, order in orders.items()}


class RefundRow(NamedTuple):
    """A row of `refund`; `lines` is JSON, empty where there are no lines."""

    customer_id: str
    order_id: str
    refund_id: str
    refunded_at: datetime
    amount: str
    lines: str
    digest: int | None


ADD_REFUNDS_SQL = """
INSERT INTO refund (customer_id, order_id, refund_id, refunded_at, amount, lines, digest)
SELECT customer_id, order_id, refund_id, refunded_at, amount::numeric, nullif(lines, '')::json, digest
FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::text[], $6::text[], $7::bigint[])
    AS new (customer_id, order_id, refund_id, refunded_at, amount, lines, digest)
"""


async def add_refunds(connection: Connection, rows: Sequence[RefundRow]) -> None:
    """Record new refunds."""
    if rows:
        await connection.execute(ADD_REFUNDS_SQL, *zip(*rows, strict=True))


REFUNDS_SQL = """
SELECT refund.customer_id || '/' || refund.order_id || '/' || refund_id AS id
FROM refund LEFT JOIN purchase USING (customer_id, order_id)
WHERE purchase.order_id IS NULL
UNION ALL
SELECT waiting.customer_id || '/' || purchase.order_id || '/' || waiting.natural_id
FROM waiting JOIN purchase
  ON purchase.customer_id = waiting.customer_id AND waiting.about = 'order/' || purchase.order_id
LIMIT $1
"""

REFUNDS: Final = Query("refunds have their order, and none waits for a recorded one", REFUNDS_SQL)
"""A check for `verify`."""

_SAMPLE: Final = 20_000

CURRENCIES_SQL = """
SELECT currency, count(*) AS orders
FROM (
    SELECT currency
    FROM purchase TABLESAMPLE SYSTEM (
        least(100, 100.0 * $1 / greatest(1, (SELECT reltuples FROM pg_class WHERE oid = 'purchase'::regclass))))
    LIMIT 2 * $1
) AS sample
GROUP BY currency
"""


async def count_currencies(connection: Connection) -> Mapping[str, int]:
    """The number of orders by currency, in a sample of about 20,000; of all orders if there are fewer."""
    return {row["currency"]: row["orders"] for row in await connection.fetch(CURRENCIES_SQL, _SAMPLE)}
