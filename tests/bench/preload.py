"""A database after long use: set-based SQL inserts the rows that a number of purchases would have left.

The purchases are in the order of time, by random customers, with a third of them by the busiest tenth. So indexes by
customer grow as in use: at random places, with page splits spread over time.
"""

import asyncio
from random import Random
from typing import Final

from shared.postgres.pool import Pool
from tests.bench import volume
from tests.bench.testbed import Testbed

CUSTOMERS: Final = 100_000

_TIMEOUT: Final = 900.0

# `nth` counts the purchases of a customer; ids ascend in the order of creation.
MADE_SQL = """
CREATE UNLOGGED TABLE made AS
SELECT n, ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid AS id, 'c-' || customer AS customer_id,
       row_number() OVER (PARTITION BY customer ORDER BY n) AS nth,
       '2020-01-01Z'::timestamptz + n * interval '1 second' AS moment
FROM (
    SELECT n, 1 + floor({customers} * ((hashint8extended(n, 5) & 2147483647) / 2147483648.0::float8) ^ 2)::int
        AS customer
    FROM generate_series(0, {transactions}::bigint - 1) AS n
) AS drawn
ORDER BY n
"""

ACCOUNTS_SQL = """
INSERT INTO account (customer_id, available, earned, sequence, orders, recorded_at)
SELECT customer_id, 10 * count(*), 10 * count(*), count(*), count(*), max(moment) FROM made GROUP BY customer_id
"""

NEWCOMERS_SQL = """
INSERT INTO account (customer_id) SELECT 'c-' || number FROM generate_series(1, $1::bigint) AS number
ON CONFLICT DO NOTHING
"""

TRANSACTIONS_SQL = """
INSERT INTO transaction (id, customer_id, sequence, kind, points, available_after, pending_after, held_after,
                         debt_after, earned_after, redeemed_after, occurred_at, recorded_at, reason, rules_version,
                         inputs, receipt_digest)
SELECT id, customer_id, nth, 'earned', 10, nth * 10, 0, 0, 0, nth * 10, 0, moment, moment,
       ('{"kind": "purchase", "order_id": "old-' || n || '"}')::json, 1, '{"multiplier": "1"}', $1::bytea
FROM made ORDER BY n
"""

POSTINGS_SQL = """
INSERT INTO posting (transaction_id, number, source, target, points, lot_id)
SELECT id, 0, 'issued', 'available', 10, id FROM made ORDER BY n
"""

LOTS_SQL = """
INSERT INTO lot (id, customer_id, transaction_id, origin, rule, granted, remaining, pending, occurred_at)
SELECT id, customer_id, id, 'order/old-' || n, 'base', 10, 10, false, moment FROM made ORDER BY n
"""

PURCHASES_SQL = """
INSERT INTO purchase (customer_id, order_id, source, occurred_at, ordinal, rules_version, body, given, multiplier,
                      transaction_ids)
SELECT customer_id, 'old-' || n, '/shop', moment, nth, 1, '{"currency": "USD", "total": "10.00"}', '{"base": 10}', '1',
       ARRAY[id]
FROM made ORDER BY n
"""

INBOX_SQL = "INSERT INTO inbox (digest, received_on) SELECT md5(n::text)::uuid, moment::date FROM made ORDER BY n"

PROGRAM_SQL = "INSERT INTO program_account (kind, shard, balance) VALUES ('issued', 0, -10 * $1::bigint)"


def customer(chance: Random) -> str:
    """A random customer, with the distribution of the database."""
    return f"c-{1 + int(CUSTOMERS * chance.random() ** 2)}"


async def fill(pool: Pool, transactions: int) -> None:
    """Insert the rows of `count` purchases, and an account for each customer."""
    if transactions:
        await _run(pool, MADE_SQL.format(customers=CUSTOMERS, transactions=transactions))
        await _run(pool, PROGRAM_SQL, transactions)
        await asyncio.gather(
            _run(pool, ACCOUNTS_SQL),
            _run(pool, TRANSACTIONS_SQL, await volume.digest(pool)),
            *(_run(pool, statement) for statement in (POSTINGS_SQL, LOTS_SQL, PURCHASES_SQL, INBOX_SQL)),
        )
        await _run(pool, "DROP TABLE made")
    await _run(pool, NEWCOMERS_SQL, CUSTOMERS)
    await _run(pool, "VACUUM (ANALYZE)")


async def hurry(bed: Testbed) -> None:
    """Turn off durability while rows are inserted."""
    await bed.execute(
        "ALTER SYSTEM SET full_page_writes = off", "ALTER SYSTEM SET max_wal_size = '20GB'", "SELECT pg_reload_conf()"
    )


async def hurry_no_more(bed: Testbed) -> None:
    """Turn durability on again, after a checkpoint."""
    await bed.execute(
        "ALTER SYSTEM RESET full_page_writes",
        "ALTER SYSTEM RESET max_wal_size",
        "SELECT pg_reload_conf()",
        "CHECKPOINT",
    )


async def _run(pool: Pool, statement: str, *arguments: object) -> None:
    async with volume.unbounded(pool) as connection:
        await connection.execute(statement, *arguments, timeout=_TIMEOUT)
