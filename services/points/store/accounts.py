"""Rows of accounts: locked in sorted order, then updated by one statement."""

from collections import Counter
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import Any

from services.points.rules.ledger.accounts import PROGRAM, Account
from services.points.rules.ledger.transactions import Transaction
from shared.postgres.ids import joined
from shared.postgres.pool import Connection, Pool

# For one account, without an array: PostgreSQL plans it once, but would plan a statement with an array each time.
LOCK_ONE_SQL = """
SELECT customer_id, available, pending, held, debt, earned, redeemed, sequence, orders, recorded_at, due_at
FROM account WHERE customer_id = $1 FOR UPDATE
"""


async def _lock_one(connection: Connection, customer: str) -> Account | None:
    row = await connection.fetchrow(LOCK_ONE_SQL, customer)
    return None if row is None else Account(*row)


LOCK_SQL = """
SELECT customer_id, available, pending, held, debt, earned, redeemed, sequence, orders, recorded_at, due_at
FROM account
WHERE customer_id = ANY(string_to_array($1, chr(31)))
ORDER BY customer_id
FOR UPDATE
"""

OPEN_SQL = """
INSERT INTO account (customer_id)
SELECT customer_id FROM unnest(string_to_array($1, chr(31))) AS new (customer_id)
WHERE NOT EXISTS (SELECT FROM account WHERE account.customer_id = new.customer_id)
ORDER BY customer_id
ON CONFLICT (customer_id) DO NOTHING
"""


async def lock(connection: Connection, customers: Collection[str]) -> dict[str, Account]:
    """Lock the accounts of customers until the transaction ends; a missing account is created."""
    wanted = sorted(set(customers))
    if len(wanted) == 1 and (account := await _lock_one(connection, wanted[0])) is not None:
        return {account.customer_id: account}
    names = joined(wanted)
    rows: list[Any] = []
    if wanted:
        # Missing accounts are created before any lock is taken: a transaction that held locks and then waited for an
        # account that another one has just created would wait out of order, and could deadlock.
        await connection.execute(OPEN_SQL, names)
        rows = await connection.fetch(LOCK_SQL, names)
    return {row["customer_id"]: Account(*row) for row in rows}


FIND_SQL = """
SELECT customer_id, available, pending, held, debt, earned, redeemed, sequence, orders, recorded_at, due_at
FROM account WHERE customer_id = $1
"""


async def find(connection: Connection | Pool, customer: str) -> Account | None:
    """The stored account of a customer."""
    row = await connection.fetchrow(FIND_SQL, customer)
    return None if row is None else Account(*row)


READ_SQL = """
SELECT customer_id, available, pending, held, debt, earned, redeemed, sequence, orders, recorded_at, due_at
FROM account WHERE customer_id = ANY($1::text[])
"""


async def read(connection: Connection, customers: Collection[str]) -> dict[str, Account]:
    """The stored accounts of customers."""
    rows = await connection.fetch(READ_SQL, list(customers))
    return {row["customer_id"]: Account(*row) for row in rows}


def unknown(customer: str) -> Account:
    """The account of a customer without any transaction."""
    return Account(customer, 0, 0, 0, 0, 0, 0, 0, 0, datetime(1, 1, 1, tzinfo=UTC))


MATURED_SQL = """
SELECT customer_id
FROM account
WHERE due_at <= $1 AND customer_id <> ALL ($3::text[])
ORDER BY due_at
LIMIT $2
FOR UPDATE SKIP LOCKED
"""


async def lock_matured(connection: Connection, now: datetime, limit: int, without: Collection[str]) -> list[str]:
    """Lock customers with matured points or holds; those that another transaction has locked are skipped."""
    return [row["customer_id"] for row in await connection.fetch(MATURED_SQL, now, limit, list(without))]


UPDATE_SQL = """
UPDATE account
SET available = new.available, pending = new.pending, held = new.held, debt = new.debt,
    earned = new.earned, redeemed = new.redeemed, sequence = new.sequence, orders = new.orders,
    recorded_at = new.recorded_at, due_at = new.due_at
FROM unnest(string_to_array($1, chr(31)), $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
            $7::bigint[], $8::bigint[], $9::bigint[], $10::timestamptz[], $11::timestamptz[])
     AS new (customer_id, available, pending, held, debt, earned, redeemed, sequence, orders, recorded_at, due_at)
WHERE account.customer_id = new.customer_id
"""


async def update(connection: Connection, accounts: Collection[Account]) -> None:
    """Write locked accounts."""
    if accounts:
        customers, *columns = zip(*accounts, strict=True)
        await connection.execute(UPDATE_SQL, joined(customers), *columns)


ADD_PROGRAM_SQL = """
INSERT INTO program_account (kind, shard, balance)
SELECT kind, pg_backend_pid() % 16, points FROM unnest($1::text[], $2::bigint[]) AS flow (kind, points) ORDER BY kind
ON CONFLICT (kind, shard) DO UPDATE SET balance = program_account.balance + excluded.balance
"""


async def add_to_program(connection: Connection, transactions: Iterable[Transaction]) -> None:
    """Add postings to the program's accounts, in the shard of this session; sessions rarely share one."""
    flows: Counter[str] = Counter()
    for transaction in transactions:
        for posting in transaction.postings:
            flows[posting.source] -= posting.points
            flows[posting.target] += posting.points
    kinds = [kind for kind in PROGRAM if flows[kind]]
    if kinds:
        await connection.execute(ADD_PROGRAM_SQL, kinds, [flows[kind] for kind in kinds])


TRIAL_BALANCE_SQL = """
SELECT kind, balance FROM (
    SELECT 'available' AS kind, coalesce(sum(available), 0) AS balance, 1 AS place FROM account
    UNION ALL SELECT 'pending', coalesce(sum(pending), 0), 2 FROM account
    UNION ALL SELECT 'held', coalesce(sum(held), 0), 3 FROM account
    UNION ALL SELECT 'debt', -coalesce(sum(debt), 0), 4 FROM account
    UNION ALL SELECT kind, sum(balance), 5 FROM program_account GROUP BY kind
) AS kinds
ORDER BY place, kind
"""


async def trial_balance(connection: Connection) -> dict[str, int]:
    """Points by kind of account; they add up to 0 (debt counts as negative)."""
    return {row["kind"]: int(row["balance"]) for row in await connection.fetch(TRIAL_BALANCE_SQL)}
