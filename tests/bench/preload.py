"""A database that has been used for long: set-based SQL makes the rows that so many purchases would have left.

The transactions are dealt out to the customers in a scattered order, one round of all customers after the other, so
that the indexes by customer grow as they do in use: at random places, by splits.
"""

import asyncio
from datetime import UTC, datetime
from typing import Final

from shared.postgres.pool import Pool
from tests.bench import volume
from tests.bench.testbed import Testbed

CUSTOMERS: Final = 100_000

_SPREAD: Final = 61_803
"""No factor in common with the customers: multiples of it come by each of them once a round."""
_TIMEOUT: Final = 900.0
_BEGAN: Final = datetime(2020, 1, 1, tzinfo=UTC)

ACCOUNTS_SQL = """
INSERT INTO account (customer_id, available, earned, sequence, orders, recorded_at)
SELECT 'c-' || 1 + place, 10 * orders, 10 * orders, orders, orders, $1::timestamptz
FROM (
    SELECT (n * $3::bigint) % $4::bigint AS place, ($2::bigint - 1 - n) / $4::bigint + 1 AS orders
    FROM generate_series(0, least($2::bigint, $4::bigint) - 1) AS n
) AS made
"""

NEWCOMERS_SQL = """
INSERT INTO account (customer_id) SELECT 'c-' || number FROM generate_series(1, $1::bigint) AS number
ON CONFLICT DO NOTHING
"""

# The n-th transaction; ids are ordered as they are made.
_EACH: Final = """
(
    SELECT ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid AS id,
           'c-' || 1 + (n * $3::bigint) % $4::bigint AS customer_id, n / $4::bigint + 1 AS nth,
           $1::timestamptz + n * interval '1 second' AS moment, n
    FROM generate_series(0, $2::bigint - 1) AS n
) AS made
"""

TRANSACTIONS_SQL = f"""
INSERT INTO transaction (id, customer_id, sequence, kind, points, available_after, pending_after, held_after,
                         debt_after, earned_after, redeemed_after, occurred_at, recorded_at, reason, rules_version,
                         inputs, receipt_digest)
SELECT id, customer_id, nth, 'earned', 10, nth * 10, 0, 0, 0, nth * 10, 0, moment, moment,
       ('{{"kind": "purchase", "order_id": "old-' || n || '"}}')::json, 1, '{{"multiplier": "1"}}', $5::bytea
FROM {_EACH}
"""

POSTINGS_SQL = f"""
INSERT INTO posting (transaction_id, number, source, target, points, lot_id)
SELECT id, 0, 'issued', 'available', 10, id FROM {_EACH}
"""

LOTS_SQL = f"""
INSERT INTO lot (id, customer_id, transaction_id, origin, rule, granted, remaining, pending, occurred_at)
SELECT id, customer_id, id, 'order/old-' || n, 'base', 10, 10, false, moment FROM {_EACH}
"""

PURCHASES_SQL = f"""
INSERT INTO purchase (customer_id, order_id, source, occurred_at, ordinal, rules_version, body, given, multiplier,
                      transaction_ids)
SELECT customer_id, 'old-' || n, '/shop', moment, nth, 1, '{{"currency": "USD", "total": "10.00"}}', '{{"base": 10}}',
       '1', ARRAY[id]
FROM {_EACH}
"""

INBOX_SQL = """
INSERT INTO inbox (digest, received_on)
SELECT md5(n::text)::uuid, $1::timestamptz::date FROM generate_series(0, $2::bigint - 1) AS n
"""

PROGRAM_SQL = """
INSERT INTO program_account (kind, shard, balance) VALUES ('issued', 0, -10 * $1::bigint)
"""


async def fill(pool: Pool, transactions: int) -> None:
    """Rows of so many purchases, and an account for each customer."""
    given = (_BEGAN, transactions, _SPREAD, CUSTOMERS)
    await _run(pool, ACCOUNTS_SQL, *given)
    await _run(pool, NEWCOMERS_SQL, CUSTOMERS)
    if transactions:
        digest = await volume.digest(pool)
        await _run(pool, PROGRAM_SQL, transactions)
        await asyncio.gather(
            _run(pool, TRANSACTIONS_SQL, *given, digest),
            _run(pool, INBOX_SQL, _BEGAN, transactions),
            *(_run(pool, statement, *given) for statement in (POSTINGS_SQL, LOTS_SQL, PURCHASES_SQL)),
        )
    await _run(pool, "VACUUM (ANALYZE)")


async def hurry(bed: Testbed) -> None:
    """While rows are made, nothing needs to survive a crash."""
    await bed.execute(
        "ALTER SYSTEM SET full_page_writes = off", "ALTER SYSTEM SET max_wal_size = '20GB'", "SELECT pg_reload_conf()"
    )


async def hurry_no_more(bed: Testbed) -> None:
    """As before, with everything written to its place."""
    await bed.execute(
        "ALTER SYSTEM RESET full_page_writes",
        "ALTER SYSTEM RESET max_wal_size",
        "SELECT pg_reload_conf()",
        "CHECKPOINT",
    )


async def _run(pool: Pool, statement: str, *arguments: object) -> None:
    async with pool.acquire() as connection:  # which is as it was when it comes back to the pool
        await connection.execute("SET statement_timeout = 0")
        await connection.execute(statement, *arguments, timeout=_TIMEOUT)
