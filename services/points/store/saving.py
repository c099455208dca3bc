"""Writes the changes of a fold: new rows by COPY, changed rows by one statement per table."""

import asyncio
from collections.abc import Collection, Iterable, Sequence

from services.points.rules.books.state import Changes, Hold, Key, State
from services.points.rules.ledger.lots import Lot
from services.points.rules.ledger.transactions import Transaction
from services.points.store import accounts, births, limits, refunds, rejudging, timelines
from services.points.store.documents import order_to_json
from shared.messaging import waiting
from shared.postgres.pool import Connection
from shared.turns import map_in_turns


async def save(connection: Connection, state: State, changes: Changes) -> None:
    """Write the changes; `state` is the state after them."""
    # Rows of orders take long to make: that happens while the database writes the ledger.
    orders = asyncio.create_task(map_in_turns(lambda key: _order_row(key, state), changes.orders_made))
    await save_ledger(connection, changes.transactions, changes.lots_made.values(), changes.lots_changed.values())
    await accounts.update(connection, [state.accounts[customer] for customer in changes.accounts])
    await _save_orders(connection, state, changes, await orders)
    if changes.accruals:
        await _upsert_accruals(connection, state, changes.accruals)
    if changes.uses:
        await limits.save(connection, [(key, state.uses[key]) for key in changes.uses])
    if changes.births:
        await births.save(connection, [(customer, state.births[customer]) for customer in changes.births])
    if changes.holds:
        await _upsert_holds(connection, changes.holds.values())
    if changes.payments:
        await _upsert_payments(connection, state, changes.payments)
    if changes.timelines:
        await timelines.replace(connection, state, changes)
    if changes.resettling:
        await rejudging.save(connection, changes.resettling)
    await waiting.keep(connection, changes.waiting)


async def _save_orders(
    connection: Connection, state: State, changes: Changes, made: Sequence[tuple[object, ...]]
) -> None:
    # Nearly all orders have no refunds: their rows leave the last column to its default.
    for width in {len(row) for row in made}:
        rows = [row for row in made if len(row) == width]
        await connection.copy_records_to_table("purchase", records=rows, columns=_PURCHASE_COLUMNS[:width])
    if changes.orders_changed:
        await _update_orders(connection, state, changes.orders_changed)
    if changes.order_transactions:
        columns = ("customer_id", "order_id", "sequence", "transaction_id")
        await connection.copy_records_to_table("order_transaction", records=changes.order_transactions, columns=columns)
    if changes.refunds:
        await refunds.insert(connection, changes.refunds)
        await refunds.save_checkpoints(connection, state)


async def save_ledger(
    connection: Connection, transactions: Sequence[Transaction], made: Collection[Lot], changed: Collection[Lot]
) -> None:
    """Write transactions with their postings and lots, and the program's accounts."""
    await _insert_transactions(connection, transactions)
    await _insert_lots(connection, made)
    await save_parts(connection, transactions, changed)


async def save_parts(connection: Connection, transactions: Sequence[Transaction], changed: Collection[Lot]) -> None:
    """Write the postings of transactions, the lots that they changed, and the program's accounts."""
    await _insert_postings(connection, transactions)
    if changed:
        await _update_lots(connection, changed)
    await accounts.add_to_program(connection, transactions)


async def _insert_transactions(connection: Connection, transactions: Sequence[Transaction]) -> None:
    if not transactions:
        return
    rows = [
        (
            transaction.id,
            transaction.account.customer_id,
            transaction.account.sequence,
            transaction.kind,
            transaction.points,
            transaction.account.available,
            transaction.account.pending,
            transaction.account.held,
            transaction.account.debt,
            transaction.account.earned,
            transaction.account.redeemed,
            transaction.context.occurred_at,
            transaction.account.recorded_at,
            transaction.context.reason,
            transaction.context.rules_version,
            transaction.context.inputs,
            transaction.context.receipt_digest,
            transaction.activates_at,
            transaction.expires_at,
        )
        for transaction in transactions
    ]
    await connection.copy_records_to_table("transaction", records=rows, columns=_TRANSACTION_COLUMNS)


_TRANSACTION_COLUMNS = (
    "id",
    "customer_id",
    "sequence",
    "kind",
    "points",
    "available_after",
    "pending_after",
    "held_after",
    "debt_after",
    "earned_after",
    "redeemed_after",
    "occurred_at",
    "recorded_at",
    "reason",
    "rules_version",
    "inputs",
    "receipt_digest",
    "activates_at",
    "expires_at",
)


async def _insert_postings(connection: Connection, transactions: Iterable[Transaction]) -> None:
    rows = [
        (transaction.id, number, *posting)
        for transaction in transactions
        for number, posting in enumerate(transaction.postings)
    ]
    if rows:
        columns = ("transaction_id", "number", "source", "target", "points", "lot_id")
        await connection.copy_records_to_table("posting", records=rows, columns=columns)


async def _insert_lots(connection: Connection, lots: Collection[Lot]) -> None:
    if lots:
        await connection.copy_records_to_table("lot", records=lots, columns=Lot._fields)


UPDATE_LOTS_SQL = """
UPDATE lot
SET remaining = new.remaining, held = new.held, spent = new.spent, reversed = new.reversed, expired = new.expired,
    pending = new.pending, activates_at = new.activates_at, expires_at = new.expires_at
FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::boolean[],
            $8::timestamptz[], $9::timestamptz[])
     AS new (id, remaining, held, spent, reversed, expired, pending, activates_at, expires_at)
WHERE lot.id = new.id
"""


async def _update_lots(connection: Connection, lots: Collection[Lot]) -> None:
    rows = [
        (
            *(lot.id, lot.remaining, lot.held, lot.spent, lot.reversed, lot.expired),
            *(lot.pending, lot.activates_at, lot.expires_at),
        )
        for lot in lots
    ]
    await connection.execute(UPDATE_LOTS_SQL, *map(list, zip(*rows, strict=True)))


def _order_row(key: Key, state: State) -> tuple[object, ...]:
    order = state.orders[key]
    row = (
        key[0],
        order.order_id,
        order.source,
        order.occurred_at,
        order.ordinal,
        order.rules_version,
        order_to_json(order.bought),
        order.given,
        order.standing.tier,
        order.standing.multiplier,
        order.cuts,
        order.delivered_at,
        (order.first_transaction,),
    )
    return (*row, state.refunds[key].fold.to_json()) if key in state.refunds else row


_PURCHASE_COLUMNS = (
    "customer_id",
    "order_id",
    "source",
    "occurred_at",
    "ordinal",
    "rules_version",
    "body",
    "given",
    "tier",
    "multiplier",
    "found",
    "delivered_at",
    "transaction_ids",
    "refunded",
)

UPDATE_ORDERS_SQL = """
UPDATE purchase
SET given = new.given, tier = new.tier, multiplier = new.multiplier, delivered_at = new.delivered_at,
    refunded = coalesce(new.refunded, purchase.refunded)
FROM unnest($1::text[], $2::text[], $3::json[], $4::text[], $5::text[], $6::timestamptz[], $7::json[])
     AS new (customer_id, order_id, given, tier, multiplier, delivered_at, refunded)
WHERE purchase.customer_id = new.customer_id AND purchase.order_id = new.order_id
"""


async def _update_orders(connection: Connection, state: State, keys: Iterable[Key]) -> None:
    rows = [
        (
            *key,
            order.given,
            order.standing.tier,
            order.standing.multiplier,
            order.delivered_at,
            # None keeps what is stored.
            state.refunds[key].fold.to_json() if key in state.refunds else None,
        )
        for key, order in ((key, state.orders[key]) for key in keys)
    ]
    await connection.execute(UPDATE_ORDERS_SQL, *map(list, zip(*rows, strict=True)))


UPSERT_ACCRUALS_SQL = """
INSERT INTO accrual (customer_id, origin, event, occurred_at, rules_version, facts, given, tier, found, withdrawn)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::int[], $6::json[], $7::json[],
                     $8::text[], $9::json[], $10::boolean[])
ON CONFLICT (customer_id, origin) DO UPDATE
SET given = excluded.given, tier = excluded.tier, found = excluded.found, withdrawn = excluded.withdrawn
"""


async def _upsert_accruals(connection: Connection, state: State, keys: Iterable[Key]) -> None:
    rows = [
        (
            *(customer, accrual.origin, accrual.on, accrual.occurred_at, accrual.rules_version, accrual.facts),
            *(accrual.given, accrual.tier, accrual.cuts, accrual.withdrawn),
        )
        for customer, accrual in ((key[0], state.accruals[key]) for key in keys)
    ]
    await connection.execute(UPSERT_ACCRUALS_SQL, *map(list, zip(*rows, strict=True)))


UPSERT_HOLDS_SQL = """
INSERT INTO hold (id, customer_id, reference, points, portions, state, expires_at, created_at, captured, redemption_id)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::json[], $6::text[], $7::timestamptz[],
                     $8::timestamptz[], $9::bigint[], $10::uuid[])
ON CONFLICT (id) DO UPDATE
SET portions = excluded.portions, state = excluded.state, captured = excluded.captured,
    redemption_id = excluded.redemption_id
"""


async def _upsert_holds(connection: Connection, holds: Iterable[Hold]) -> None:
    await connection.execute(UPSERT_HOLDS_SQL, *map(list, zip(*holds, strict=True)))


UPSERT_PAYMENTS_SQL = """
INSERT INTO referral_payment (customer_id, referral_id, points, voided)
SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::boolean[])
ON CONFLICT (customer_id, referral_id) DO UPDATE SET voided = excluded.voided
"""


async def _upsert_payments(connection: Connection, state: State, keys: Iterable[Key]) -> None:
    rows = [(key[0], key[1], state.payments[key].points, state.payments[key].voided) for key in keys]
    await connection.execute(UPSERT_PAYMENTS_SQL, *map(list, zip(*rows, strict=True)))
