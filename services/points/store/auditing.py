"""Checks of the books: each statement selects the ids of what is wrong, none in a sound database."""

from datetime import datetime
from typing import Final
from uuid import UUID

from services.points.store import accounts
from shared import telemetry
from shared.postgres.checks import Query
from shared.postgres.pool import Connection, Pool

PROGRAM_SQL = """
WITH posted AS (
    SELECT account, sum(points) AS points
    FROM (
        SELECT target AS account, points FROM every_posting UNION ALL SELECT source, -points FROM every_posting
    ) AS flow
    GROUP BY account
), kept AS (
    SELECT kind AS account, sum(balance) AS points FROM program_account GROUP BY kind
)
SELECT coalesce(kept.account, posted.account) AS id
FROM kept FULL JOIN (SELECT * FROM posted WHERE account NOT IN ('available', 'pending', 'held', 'debt')) AS posted
     USING (account)
WHERE coalesce(kept.points, 0) <> coalesce(posted.points, 0)
LIMIT $1
"""

BALANCES_SQL = """
WITH flow AS (
    SELECT transaction_id, target AS account, points FROM every_posting
    UNION ALL
    SELECT transaction_id, source, -points FROM every_posting
), posted AS (
    SELECT customer_id,
           coalesce(sum(flow.points) FILTER (WHERE account = 'available'), 0) AS available,
           coalesce(sum(flow.points) FILTER (WHERE account = 'pending'), 0) AS pending,
           coalesce(sum(flow.points) FILTER (WHERE account = 'held'), 0) AS held,
           -coalesce(sum(flow.points) FILTER (WHERE account = 'debt'), 0) AS debt
    FROM flow JOIN transaction ON transaction.id = flow.transaction_id
    GROUP BY customer_id
)
SELECT account.customer_id AS id
FROM account LEFT JOIN posted USING (customer_id)
WHERE (account.available, account.pending, account.held, account.debt)
      <> (coalesce(posted.available, 0), coalesce(posted.pending, 0),
          coalesce(posted.held, 0), coalesce(posted.debt, 0))
LIMIT $1
"""

LOTS_SQL = """
WITH open AS (
    SELECT customer_id,
           coalesce(sum(remaining) FILTER (WHERE NOT pending), 0) AS available,
           coalesce(sum(remaining) FILTER (WHERE pending), 0) AS pending,
           sum(held) AS held,
           bool_and(granted = remaining + held + spent + reversed + expired) AS conserved
    FROM lot GROUP BY customer_id
)
SELECT coalesce(account.customer_id, open.customer_id) AS id
FROM account FULL JOIN open USING (customer_id)
WHERE account.customer_id IS NULL OR NOT coalesce(open.conserved, true)
   OR (account.available, account.pending, account.held)
      <> (coalesce(open.available, 0), coalesce(open.pending, 0), coalesce(open.held, 0))
LIMIT $1
"""

HOLDS_SQL = """
WITH open AS (
    SELECT customer_id, sum((portion->>1)::bigint) AS held
    FROM hold, json_array_elements(portions) AS portion
    WHERE state = 'held'
    GROUP BY customer_id
)
SELECT coalesce(account.customer_id, open.customer_id) AS id
FROM account FULL JOIN open USING (customer_id)
WHERE coalesce(account.held, 0) <> coalesce(open.held, 0)
LIMIT $1
"""

NEGATIVE_SQL = """
SELECT customer_id AS id FROM account WHERE least(available, pending, held, debt) < 0
UNION ALL
SELECT id::text FROM lot WHERE least(remaining, held, spent, reversed, expired) < 0
LIMIT $1
"""

SEQUENCES_SQL = """
WITH counted AS (
    SELECT customer_id, count(*) AS count, min(sequence) AS first, max(sequence) AS last
    FROM transaction GROUP BY customer_id
)
SELECT coalesce(account.customer_id, counted.customer_id) AS id
FROM account FULL JOIN counted USING (customer_id)
WHERE account.customer_id IS NULL OR account.sequence <> coalesce(counted.last, 0)
   OR counted.count <> counted.last OR counted.first <> 1
LIMIT $1
"""

LAST_SQL = """
SELECT account.customer_id AS id
FROM account JOIN transaction USING (customer_id, sequence)
WHERE (available, pending, held, debt, earned, redeemed)
      <> (available_after, pending_after, held_after, debt_after, earned_after, redeemed_after)
LIMIT $1
"""

CHECKS: Final = (
    Query("program accounts = postings", PROGRAM_SQL),
    Query("balances = postings", BALANCES_SQL),
    Query("lots conserve and add up to the balances", LOTS_SQL),
    Query("open holds add up to what is held", HOLDS_SQL),
    Query("no lot and no balance below 0", NEGATIVE_SQL),
    Query("sequences are gapless", SEQUENCES_SQL),
    Query("the last statement line = the balance", LAST_SQL),
)


SAMPLE_TRANSACTIONS_SQL = """
SELECT id FROM transaction TABLESAMPLE SYSTEM (least(100, 100.0 * $1 / greatest(1, (SELECT count(*) FROM transaction))))
LIMIT $1
"""


async def sample_transactions(connection: Connection, count: int) -> list[UUID]:
    """The ids of about `count` transactions, all of them if there are fewer."""
    return [row["id"] for row in await connection.fetch(SAMPLE_TRANSACTIONS_SQL, count)]


SAMPLE_ORDERS_SQL = """
SELECT customer_id, order_id
FROM purchase TABLESAMPLE SYSTEM (least(100, 100.0 * $1 / greatest(1, (SELECT count(*) FROM purchase))))
LIMIT $1
"""


async def sample_orders(connection: Connection, count: int) -> list[tuple[str, str]]:
    """The keys of about `count` orders, all of them if there are fewer."""
    return [(row["customer_id"], row["order_id"]) for row in await connection.fetch(SAMPLE_ORDERS_SQL, count)]


SAMPLE_ACCRUALS_SQL = """
SELECT customer_id, origin
FROM accrual TABLESAMPLE SYSTEM (least(100, 100.0 * $1 / greatest(1, (SELECT count(*) FROM accrual))))
LIMIT $1
"""


async def sample_accruals(connection: Connection, count: int) -> list[tuple[str, str]]:
    """The keys of about `count` accruals, all of them if there are fewer."""
    return [(row["customer_id"], row["origin"]) for row in await connection.fetch(SAMPLE_ACCRUALS_SQL, count)]


async def measure_imbalance(pool: Pool, _now: datetime) -> None:
    """The job that adds up the ledger and sets its metric: the sum has to be 0."""
    async with pool.acquire() as connection:
        telemetry.LEDGER_IMBALANCE.set(sum((await accounts.trial_balance(connection)).values()))
