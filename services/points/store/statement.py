"""Reading balances and statements: one row, or one page of an index, never the ledger."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from services.points.rules.receipts import Basis
from services.points.store.documents import order_from_json, refund_from_row
from shared.contracts.kept import Refund
from shared.postgres.pool import Connection, Pool


@dataclass(frozen=True, slots=True)
class Balances:
    """A customer's points, and over the lifetime."""

    available: int = 0
    pending: int = 0
    held: int = 0
    debt: int = 0
    lifetime_earned: int = 0
    lifetime_redeemed: int = 0


BALANCES_SQL = """
SELECT available, pending, held, debt, earned, redeemed FROM account WHERE customer_id = $1
"""


async def balances(pool: Pool, customer: str) -> Balances:
    """The balances of now; zeros for an unknown customer."""
    row = await pool.fetchrow(BALANCES_SQL, customer)
    return Balances() if row is None else Balances(*row)


BALANCES_AS_OF_SQL = """
SELECT available_after, pending_after, held_after, debt_after, earned_after, redeemed_after
FROM transaction
WHERE customer_id = $1 AND recorded_at <= $2
ORDER BY sequence DESC
LIMIT 1
"""


async def balances_as_of(pool: Pool, customer: str, moment: datetime) -> Balances:
    """The balances as they were recorded by an instant."""
    row = await pool.fetchrow(BALANCES_AS_OF_SQL, customer, moment)
    return Balances() if row is None else Balances(*row)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a statement; `sequence` is its number within the customer."""

    id: UUID
    customer_id: str
    sequence: int
    kind: str
    points: int
    available_after: int
    occurred_at: datetime
    recorded_at: datetime
    reason: dict[str, Any]
    activates_at: datetime | None
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which lines of a statement: of one kind, of one order, before a sequence."""

    kind: str | None = None
    order_id: str | None = None
    before: int | None = None


_NEWEST = 2**63 - 1

PAGE_SQL = """
SELECT id, customer_id, sequence, kind, points, available_after, occurred_at, recorded_at, reason,
       activates_at, expires_at
FROM transaction
WHERE customer_id = $1 AND sequence < $2 AND ($3::text IS NULL OR kind = $3)
ORDER BY sequence DESC
LIMIT $4
"""

PAGE_OF_ORDER_SQL = """
SELECT id, customer_id, sequence, kind, points, available_after, occurred_at, recorded_at, reason,
       activates_at, expires_at
FROM transaction
WHERE id = ANY (ARRAY (SELECT unnest(transaction_ids) FROM purchase WHERE customer_id = $1 AND order_id = $5))
  AND customer_id = $1 AND sequence < $2 AND ($3::text IS NULL OR kind = $3)
ORDER BY sequence DESC
LIMIT $4
"""


async def page(pool: Pool, customer: str, wanted: Filter, limit: int) -> list[Line]:
    """Lines of a customer's statement, newest first."""
    arguments: list[object] = [customer, _NEWEST if wanted.before is None else wanted.before, wanted.kind, limit]
    if wanted.order_id is None:
        rows = await pool.fetch(PAGE_SQL, *arguments)
    else:
        rows = await pool.fetch(PAGE_OF_ORDER_SQL, *arguments, wanted.order_id)
    return [Line(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class Entry:
    """A transaction with all that its receipt is rebuilt from."""

    line: Line
    rules_version: int | None
    inputs: dict[str, Any]
    receipt_digest: bytes


ENTRIES_SQL = """
SELECT id, customer_id, sequence, kind, points, available_after, occurred_at, recorded_at, reason,
       activates_at, expires_at, rules_version, inputs, receipt_digest
FROM transaction WHERE id = ANY($1::uuid[])
"""


async def entries(connection: Connection, ids: Sequence[UUID]) -> list[Entry]:
    """Transactions by their ids."""
    rows = [tuple(row) for row in await connection.fetch(ENTRIES_SQL, ids)]
    return [Entry(Line(*row[:11]), *row[11:]) for row in rows]


@dataclass(frozen=True, slots=True)
class PostingRow:
    """A posting as it is shown."""

    source: str
    target: str
    points: int
    lot_id: UUID | None


POSTINGS_SQL = """
SELECT source, target, points, lot_id FROM posting WHERE transaction_id = $1 ORDER BY number
"""


async def postings(connection: Connection, transaction_id: UUID) -> list[PostingRow]:
    """The postings of a transaction, in their order."""
    return [PostingRow(*row) for row in await connection.fetch(POSTINGS_SQL, transaction_id)]


BASIS_ORDERS_SQL = """
SELECT customer_id, order_id, body
FROM purchase JOIN unnest($1::text[], $2::text[]) AS wanted (customer_id, order_id) USING (customer_id, order_id)
"""

BASIS_REFUNDS_SQL = """
SELECT customer_id, order_id, refund_id, occurred_at, currency, amount, lines
FROM refund JOIN unnest($1::text[], $2::text[]) AS wanted (customer_id, order_id) USING (customer_id, order_id)
"""

BASIS_REVIEWS_SQL = """
SELECT customer_id, review_id, verified
FROM review JOIN unnest($1::text[], $2::text[]) AS wanted (customer_id, review_id) USING (customer_id, review_id)
"""


async def bases(connection: Connection, found: Sequence[Entry]) -> list[Basis]:
    """What the receipts of transactions are rebuilt from, in the same order."""
    about_orders = _about(found, "order_id")
    rows = await connection.fetch(BASIS_ORDERS_SQL, *about_orders)
    orders = {(row["customer_id"], row["order_id"]): order_from_json(*row) for row in rows}
    refunds: dict[tuple[str, str], dict[str, Refund]] = {}
    for row in await connection.fetch(BASIS_REFUNDS_SQL, *about_orders):
        refunds.setdefault((row["customer_id"], row["order_id"]), {})[row["refund_id"]] = refund_from_row(row)
    rows = await connection.fetch(BASIS_REVIEWS_SQL, *_about(found, "review_id"))
    reviews = {(row["customer_id"], row["review_id"]): row["verified"] for row in rows}
    return [
        Basis(
            reason=one.line.reason,
            rules_version=one.rules_version,
            inputs=one.inputs,
            order=orders.get((one.line.customer_id, one.line.reason.get("order_id", ""))),
            refunds=refunds.get((one.line.customer_id, one.line.reason.get("order_id", "")), {}),
            verified=reviews.get((one.line.customer_id, one.line.reason.get("review_id", ""))),
        )
        for one in found
    ]


def _about(found: Sequence[Entry], name: str) -> tuple[list[str], list[str]]:
    keys = sorted({(one.line.customer_id, one.line.reason[name]) for one in found if name in one.line.reason})
    return [key[0] for key in keys], [key[1] for key in keys]
