"""Balances and statements: each read costs one row or one page of an index, never the whole ledger."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from services.points.rules.books.rebuilding import Basis
from services.points.rules.books.refunds import RefundState
from services.points.rules.books.state import Key, Order
from services.points.rules.ledger.accounts import Account
from services.points.rules.program.earning import REVIEW
from services.points.rules.program.ruleset import RuleBook
from services.points.store import accruals, orders, refunds
from services.points.store.accounts import unknown
from shared.postgres.pool import Connection, Pool


class Maturity(NamedTuple):
    """Points that become available or expire at an instant."""

    points: int
    at: datetime


NEXT_ACTIVATION_SQL = """
SELECT sum(remaining)::bigint, activates_at FROM lot
WHERE customer_id = $1 AND pending AND (remaining > 0 OR activates_at IS NULL) AND activates_at IS NOT NULL
  AND coalesce(activates_at, cancels_at) > $2 AND id <> ALL($3::uuid[])
GROUP BY coalesce(activates_at, cancels_at), activates_at
ORDER BY coalesce(activates_at, cancels_at)
LIMIT 1
"""

# Includes points that become available by $2, though that is not written yet.
NEXT_EXPIRY_SQL = """
SELECT sum(remaining)::bigint, expires_at FROM (
    (SELECT sum(remaining) AS remaining, expires_at FROM lot
     WHERE customer_id = $1 AND remaining > 0 AND NOT pending AND expires_at > $2 AND id <> ALL($3::uuid[])
     GROUP BY expires_at ORDER BY expires_at LIMIT 1)
    UNION ALL
    SELECT remaining, expires_at FROM lot
    WHERE customer_id = $1 AND pending AND (remaining > 0 OR activates_at IS NULL) AND activates_at IS NOT NULL
      AND coalesce(activates_at, cancels_at) <= $2 AND expires_at > $2 AND id <> ALL($3::uuid[])
) AS ending
GROUP BY expires_at ORDER BY expires_at LIMIT 1
"""


async def next_maturities(
    connection: Connection, customer: str, after: datetime, without: Collection[UUID] = ()
) -> tuple[Maturity | None, Maturity | None]:
    """The customer's next points to become available after an instant, and the next to expire, without some lots.

    Points whose activation by that instant is not written yet count among those that expire.
    """
    activation = await connection.fetchrow(NEXT_ACTIVATION_SQL, customer, after, without)
    expiry = await connection.fetchrow(NEXT_EXPIRY_SQL, customer, after, without)
    return Maturity(*activation) if activation else None, Maturity(*expiry) if expiry else None


PLAINLY_MATURED_SQL = """
SELECT coalesce((SELECT sum(remaining) FROM lot
                 WHERE customer_id = $1 AND remaining > 0 AND NOT pending AND expires_at <= $2), 0)::bigint AS expired,
       coalesce(sum(remaining), 0)::bigint AS activated,
       coalesce(sum(remaining) FILTER (WHERE expires_at <= $2), 0)::bigint AS over,
       count(*) FILTER (WHERE activates_at IS NULL) = 0 AND NOT EXISTS (
           SELECT FROM hold WHERE customer_id = $1 AND state = 'held' AND expires_at <= $2) AS plain
FROM lot
WHERE customer_id = $1 AND pending AND (remaining > 0 OR activates_at IS NULL)
  AND coalesce(activates_at, cancels_at) <= $2
"""


async def with_plainly_matured(connection: Connection, account: Account, now: datetime) -> Account | None:
    """The account after all activations and expiries by now, as sums; None if more than these has to be applied."""
    if account.debt:
        return None
    row = await connection.fetchrow(PLAINLY_MATURED_SQL, account.customer_id, now)
    assert row is not None, "an aggregate has a row"
    if not row["plain"]:
        return None
    return account._replace(
        available=account.available - row["expired"] + row["activated"] - row["over"],
        pending=account.pending - row["activated"],
    )


AS_OF_SQL = """
SELECT customer_id, available_after, pending_after, held_after, debt_after, earned_after, redeemed_after, sequence,
       0::bigint AS orders, recorded_at
FROM transaction
WHERE customer_id = $1 AND recorded_at <= $2
ORDER BY sequence DESC
LIMIT 1
"""


async def account_as_of(connection: Connection, customer: str, moment: datetime) -> Account:
    """A customer's account after its last transaction recorded by an instant; `orders` is always 0."""
    row = await connection.fetchrow(AS_OF_SQL, customer, moment)
    return unknown(customer) if row is None else Account(*row)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a statement; `sequence` numbers the lines of the customer."""

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
    """Selects lines of a statement: by kind, by order, and before a sequence number."""

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
SELECT * FROM (
    (SELECT transaction.id, customer_id, sequence, kind, points, available_after, occurred_at, recorded_at, reason,
            activates_at, expires_at
     FROM order_transaction JOIN transaction USING (customer_id, sequence)
     WHERE customer_id = $1 AND order_id = $5 AND sequence < $2 AND ($3::text IS NULL OR kind = $3)
     ORDER BY sequence DESC
     LIMIT $4)
    UNION ALL
    (SELECT id, customer_id, sequence, kind, points, available_after, occurred_at, recorded_at, reason,
            activates_at, expires_at
     FROM transaction
     WHERE id = ANY (ARRAY (SELECT unnest(transaction_ids) FROM purchase WHERE customer_id = $1 AND order_id = $5))
       AND customer_id = $1 AND sequence < $2 AND ($3::text IS NULL OR kind = $3)
     ORDER BY sequence DESC
     LIMIT $4)
) AS lines
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
    """A transaction with the inputs of its receipt."""

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
    """A posting as the API shows it."""

    source: str
    target: str
    points: int
    lot_id: UUID | None


POSTINGS_SQL = """
SELECT source, target, points, lot_id FROM every_posting WHERE transaction_id = $1 ORDER BY number
"""


async def postings(connection: Connection, transaction_id: UUID) -> list[PostingRow]:
    """The postings of a transaction, in order."""
    return [PostingRow(*row) for row in await connection.fetch(POSTINGS_SQL, transaction_id)]


async def bases(connection: Connection, entries: Sequence[Entry], book: RuleBook) -> list[Basis]:
    """The bases that the receipts of transactions are rebuilt from, in order; `book` holds their rules."""
    order_keys = {key for entry in entries if (key := _order(entry))[1]}
    orders_by_key = await orders.orders_by_key(connection, order_keys) if order_keys else {}
    states = await _refund_states(connection, orders_by_key, entries)
    origins = {(entry.line.customer_id, origin) for entry in entries if (origin := _origin(entry))}
    accruals_by_key = await accruals.accruals_by_key(connection, origins) if origins else {}
    return [
        Basis(
            customer_id=entry.line.customer_id,
            reason=entry.line.reason,
            rules=None if entry.rules_version is None else book.version(entry.rules_version),
            inputs=entry.inputs,
            order=orders_by_key.get(_order(entry)),
            refunds=states.get(entry.line.id),
            accrual=accruals_by_key.get((entry.line.customer_id, _origin(entry))),
        )
        for entry in entries
    ]


async def _refund_states(
    connection: Connection, orders_by_key: Mapping[Key, Order], entries: Sequence[Entry]
) -> dict[UUID, RefundState]:
    """By transaction: the state of the refunds that it was judged by.

    Its inputs have their number, or their ids where a version before 0008_histories made it.
    """
    counts: dict[Key, set[int]] = defaultdict(set)
    names: dict[Key, list[Sequence[str]]] = defaultdict(list)
    for entry in entries:
        refund_input = entry.inputs.get("refunds")
        if isinstance(refund_input, int):
            counts[_order(entry)].add(refund_input)
        elif refund_input:
            names[_order(entry)].append(refund_input)
    counted = await refunds.states_at_counts(connection, orders_by_key, counts)
    named = await refunds.states_of_ids(connection, orders_by_key, names)
    states: dict[UUID, RefundState] = {}
    for entry in entries:
        refund_input = entry.inputs.get("refunds")
        if isinstance(refund_input, int):
            state = counted.get((_order(entry), refund_input))
        else:
            state = named.get((_order(entry), tuple(refund_input or ())))
            if state is not None:
                refund_id = entry.inputs.get("refund")
                taken = next((step for step in state.kept.refunds if step.refund_id == refund_id), None)
                state = state._replace(taken=taken)
        if state is not None:
            states[entry.line.id] = state
    return states


def _order(entry: Entry) -> Key:
    return entry.line.customer_id, entry.line.reason.get("order_id", "")


def _origin(entry: Entry) -> str:
    """The origin of a transaction's accrual; old transactions of reviews have no origin in their inputs."""
    review = entry.line.reason.get("review_id")
    return entry.inputs.get("origin") or (REVIEW.origin_of(review) if review else "")
