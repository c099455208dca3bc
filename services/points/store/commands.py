"""Writes the changes of a command in one statement, where a batch has one for each table.

A command writes one row to each of seven tables. A statement for each would cost more than the rest of the command:
a round trip and a start of the executor. The arguments are no arrays: PostgreSQL plans a statement with an array again
and again, and asyncpg inspects every element four times.
"""

from collections import Counter
from typing import Any, Final, NamedTuple, cast

import asyncpg

from services.points.rules.books.state import Changes, State
from services.points.rules.ledger.accounts import PROGRAM, Account
from services.points.rules.ledger.lots import Lot
from services.points.rules.ledger.transactions import Transaction
from services.points.store import saving
from services.points.store.redemptions import Redemption
from shared.contracts.envelope import Publication
from shared.postgres import answers
from shared.postgres.answers import Answer, StoredMeanwhileError
from shared.postgres.pool import Connection

_NO_PUBLICATION: Final = (None,) * 3
_NO_REDEMPTION: Final = (None,) * len(Redemption._fields)
_NO_POSTING: Final = (None,) * 4
_NO_LOT: Final = (None,) * 9
_NO_FLOW: Final = (None,) * 2
_NO_ANSWER: Final = (None,) * 6


class Beside(NamedTuple):
    """What is written together with the books: the redemption that moved the points, and the request's response.

    `version` is the version of the account's row that the books are based on, if the account is not locked. Nothing
    is written then unless the row still has this version, and the key of the request is neither used nor claimed.
    """

    redemption: Redemption | None = None
    answer: Answer | None = None
    version: int | None = None


def is_plain(state: State, changes: Changes) -> bool:
    """Whether a command made one transaction with stored lots and changed nothing else, as nearly all commands do."""
    return len(changes.transactions) == 1 == len(state.accounts) and not (
        changes.lots_made
        or changes.orders_made
        or changes.orders_changed
        or changes.order_transactions
        or changes.resettling
        or changes.refunds
        or changes.accruals
        or changes.payments
        or changes.births
        or changes.holds
        or changes.uses
        or changes.timelines
        or changes.waiting
    )


async def write(
    connection: Connection, account: Account, changes: Changes, publication: Publication | None, beside: Beside
) -> bool:
    """Write the transaction of a plain command with the account and lots after it, and put its event into the outbox.

    False: nothing is written, since the reference of the redemption is used, or since `beside.version` is outdated.
    If there are several postings, lots or flows, statements of their own write these.

    Raises:
        StoredMeanwhileError: the request's key has a response; the transaction must be rolled back.
    """
    (transaction,) = changes.transactions
    lots, flows = list(changes.lots_changed.values()), _flows(transaction)
    is_single = len(transaction.postings) == 1 == len(lots) and len(flows) < 2
    if not is_single and not connection.is_in_transaction():
        async with connection.transaction():
            return await write(connection, account, changes, publication, beside)
    is_written = await _execute(
        connection,
        *_line(transaction, account),
        *((publication.topic, publication.key, publication.value) if publication else _NO_PUBLICATION),
        *(beside.redemption or _NO_REDEMPTION),
        *(transaction.postings[0] if is_single else _NO_POSTING),
        *(_spent(lots[0]) if is_single else _NO_LOT),
        *(flows[0] if is_single and flows else _NO_FLOW),
        *(beside.answer.row if beside.answer else _NO_ANSWER),
        beside.version,
        beside.answer and beside.answer.claim,
    )
    if not is_written:
        return False
    if not is_single:
        await saving.save_parts(connection, changes.transactions, lots)
    if beside.answer is not None:
        beside.answer.is_stored = True
    return True


# Where the account is not locked yet, the request's key is claimed before the statement may wait for the lock.
WRITE_SQL = """
WITH locked AS MATERIALIZED (
    SELECT FROM account
    WHERE customer_id = $2 AND ($57::xid IS NULL OR (
        xmin = $57 AND pg_try_advisory_xact_lock($58)
        AND NOT EXISTS (SELECT FROM idempotency_key WHERE principal = $51 AND key = $52)
    ))
    FOR UPDATE
), redeemed AS (
    INSERT INTO redemption (id, customer_id, points, reward_id, quantity, reference, hold_id, transaction_id,
                            created_at, cancelled_at, took_stock)
    SELECT $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35 FROM locked WHERE $25::uuid IS NOT NULL
    ON CONFLICT ON CONSTRAINT redemption_reference DO NOTHING
    RETURNING id
), free AS (
    SELECT FROM redeemed UNION ALL SELECT FROM locked WHERE $25::uuid IS NULL
), entered AS (
    INSERT INTO transaction (
        id, customer_id, sequence, kind, points, available_after, pending_after, held_after, debt_after, earned_after,
        redeemed_after, occurred_at, recorded_at, reason, rules_version, inputs, receipt_digest, activates_at,
        expires_at
    )
    SELECT $1, $2, $8, $12, $13, $3, $4, $5, $6, $7, $9, $14, $10, $15, $16, $17, $18, $19, $20 FROM free
), announced AS (
    INSERT INTO outbox (topic, key, value) SELECT $22, $23, $24 FROM free WHERE $22::text IS NOT NULL
), posted AS (
    INSERT INTO posting (transaction_id, number, source, target, points, lot_id)
    SELECT $1, 0, $36, $37, $38, $39 FROM free WHERE $36::text IS NOT NULL
), spent AS (
    UPDATE lot
    SET remaining = $41, held = $42, spent = $43, reversed = $44, expired = $45, pending = $46, activates_at = $47,
        expires_at = $48
    FROM free WHERE lot.id = $40
), flown AS (
    INSERT INTO program_account (kind, shard, balance)
    SELECT $49, pg_backend_pid() % 16, $50 FROM free WHERE $49::text IS NOT NULL
    ON CONFLICT (kind, shard) DO UPDATE SET balance = program_account.balance + excluded.balance
), answered AS (
    INSERT INTO idempotency_key (principal, key, fingerprint, customer_id, status, body)
    SELECT $51, $52, $53, $54, $55, $56::text::json FROM free WHERE $51::text IS NOT NULL
)
UPDATE account
SET available = $3, pending = $4, held = $5, debt = $6, earned = $7, redeemed = $9, sequence = $8, orders = $21,
    recorded_at = $10, due_at = $11
FROM free WHERE customer_id = $2
RETURNING true
"""


async def _execute(connection: Connection, *arguments: object) -> bool:
    try:
        return bool(await connection.fetchval(WRITE_SQL, *arguments))
    except asyncpg.UniqueViolationError as error:
        if cast("Any", error).constraint_name == answers.PRIMARY_KEY:
            raise StoredMeanwhileError from error
        raise


def _line(transaction: Transaction, account: Account) -> tuple[object, ...]:
    context = transaction.context
    return (
        transaction.id,
        account.customer_id,
        account.available,
        account.pending,
        account.held,
        account.debt,
        account.earned,
        account.sequence,
        account.redeemed,
        account.recorded_at,
        account.due_at,
        transaction.kind,
        transaction.points,
        context.occurred_at,
        context.reason,
        context.rules_version,
        context.inputs,
        context.receipt_digest,
        transaction.activates_at,
        transaction.expires_at,
        account.orders,
    )


def _spent(lot: Lot) -> tuple[object, ...]:
    return (
        *(lot.id, lot.remaining, lot.held, lot.spent, lot.reversed, lot.expired),
        *(lot.pending, lot.activates_at, lot.expires_at),
    )


def _flows(transaction: Transaction) -> list[tuple[str, int]]:
    flows: Counter[str] = Counter()
    for posting in transaction.postings:
        flows[posting.source] -= posting.points
        flows[posting.target] += posting.points
    return [(kind, flows[kind]) for kind in PROGRAM if flows[kind]]
