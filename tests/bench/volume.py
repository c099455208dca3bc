"""A million transactions to verify, and a million lots due on one day, of few or of many customers."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Final

from services.points.handlers import day, verifying
from services.points.rules.books import orders
from services.points.rules.books.orders import OrderCase
from services.points.rules.books.tiers import NEWCOMER
from services.points.rules.ledger import receipts
from services.points.store import rules
from shared.contracts.shop import PurchaseCompleted
from shared.postgres.pool import Connection, Pool
from tests.bench.figures import Figure
from tests.bench.plan import Plan
from tests.bench.rounds import WrongEffectError

TRANSACTIONS: Final = 1_000_000
_SPREADS: Final = (10, 1)
"""Orders per customer; fewer are harder, since the sweep makes a transaction per customer."""
_ENDS: Final = datetime(2026, 3, 1, tzinfo=UTC)
_LATER: Final = datetime(2026, 4, 1, tzinfo=UTC)

# Each order has a total of 10.00; all points expire on one day, as at the end of a year.
FILL_SQL: Final = (
    (
        """
INSERT INTO account (customer_id, available, earned, sequence, orders, recorded_at, due_at)
SELECT 'customer-' || number, 10 * $3::int, 10 * $3::int, $3::int, $3::int, '2026-01-11Z', $1::timestamptz
FROM generate_series(1, $2::int) AS number
""",
        ("ends", "customers", "orders"),
    ),
    (
        """
INSERT INTO transaction (id, customer_id, sequence, kind, points, available_after, pending_after, held_after,
                         debt_after, earned_after, redeemed_after, occurred_at, recorded_at, reason, expires_at,
                         rules_version, inputs, receipt_digest)
SELECT ('00000000-0000-7000-8000-' || lpad(to_hex(number * 16 + nth), 12, '0'))::uuid, 'customer-' || number, nth,
       'earned', 10, nth * 10, 0, 0, 0, nth * 10, 0, '2026-01-01Z'::timestamptz + nth * interval '1 day',
       '2026-01-01Z'::timestamptz + nth * interval '1 day',
       json_build_object('kind', 'purchase', 'order_id', nth::text), $1::timestamptz, 1, '{"multiplier": "1"}',
       $4::bytea
FROM generate_series(1, $2::int) AS number, generate_series(1, $3::int) AS nth
""",
        ("ends", "customers", "orders", "digest"),
    ),
    (
        """
INSERT INTO posting (transaction_id, number, source, target, points, lot_id)
SELECT id, 0, 'issued', 'available', 10, id FROM transaction
""",
        (),
    ),
    (
        """
INSERT INTO lot (id, customer_id, transaction_id, origin, rule, granted, remaining, pending, occurred_at, expires_at)
SELECT id, customer_id, id, 'order/' || sequence, 'base', 10, 10, false, occurred_at, expires_at FROM transaction
""",
        (),
    ),
    (
        """
INSERT INTO purchase (customer_id, order_id, source, occurred_at, ordinal, rules_version, body, given, multiplier,
                      transaction_ids)
SELECT customer_id, sequence::text, '/shop', occurred_at, sequence, 1, '{"currency": "USD", "total": "10.00"}',
       '{"base": 10}', '1', ARRAY[id]
FROM transaction
""",
        (),
    ),
    (
        """
INSERT INTO program_account (kind, shard, balance) SELECT 'issued', 0, -sum(points) FROM posting
""",
        (),
    ),
    ("ANALYZE", ()),
)


# The same lots before they are activated.
PENDING_SQL = """
UPDATE lot SET pending = true, activates_at = expires_at, expires_at = NULL;
UPDATE account SET pending = available, available = 0;
VACUUM (ANALYZE) lot, account;
"""


async def measure(plan: Plan) -> list[Figure]:
    """Seconds to verify a million transactions, and to expire or activate their million lots."""
    figures: list[Figure] = []
    for orders_each in _SPREADS:
        figures += await _measure(plan, orders_each)
    return [*figures, await _activate(plan)]


async def _measure(plan: Plan, orders_each: int) -> list[Figure]:
    total = plan.events(TRANSACTIONS)
    customers = total // orders_each
    async with plan.bed.database() as (_, pool):
        plan.say(f"filling {total:,} transactions of {customers:,} customers")
        await _fill(pool, customers, orders_each)
        began = time.perf_counter()
        wrong = [check.name async for check in verifying.verify(pool, sample=10_000) if check.offenders]
        verified = time.perf_counter() - began
        plan.say(f"verified in {verified:.1f} s: {wrong or 'all is well'}")
        began = time.perf_counter()
        counts = await day.sweep(pool, _LATER)
        swept = time.perf_counter() - began
        plan.say(f"swept in {swept:.1f} s: {dict(counts)}")
        left = await pool.fetchval("SELECT sum(available) FROM account")
    if wrong or counts["points expired"] != total * 10 or left:
        raise WrongEffectError(f"the books are wrong: {wrong}, {dict(counts)}, {left} left")
    return [
        Figure(f"verify {total:,} transactions of {customers:,} customers", [verified], "s", at_most=30),
        Figure(f"expire {total:,} due lots of {customers:,} customers", [swept], "s", at_most=60),
    ]


async def _activate(plan: Plan) -> Figure:
    total = plan.events(TRANSACTIONS)
    async with plan.bed.database() as (_, pool):
        plan.say(f"filling {total:,} pending lots of {total:,} customers")
        await _fill(pool, total, 1)
        async with unbounded(pool) as connection:
            for statement in PENDING_SQL.strip().removesuffix(";").split(";"):
                await connection.execute(statement)
        began = time.perf_counter()
        counts = await day.sweep(pool, _LATER)
        swept = time.perf_counter() - began
        plan.say(f"swept in {swept:.1f} s: {dict(counts)}")
        left = await pool.fetchval("SELECT sum(pending) FROM account")
    if counts["points activated"] != total * 10 or left:
        raise WrongEffectError(f"the books are wrong: {dict(counts)}, {left} left")
    return Figure(f"activate {total:,} due lots of {total:,} customers", [swept], "s", at_most=60)


@asynccontextmanager
async def unbounded(pool: Pool) -> AsyncIterator[Connection]:
    """A connection without a statement timeout, and with much memory."""
    async with pool.acquire() as connection:
        await connection.execute("SET statement_timeout = 0; SET work_mem = '512MB'")
        try:
            yield connection
        finally:
            await connection.execute("RESET ALL")


async def _fill(pool: Pool, customers: int, orders_each: int) -> None:
    values = {"ends": _ENDS, "customers": customers, "orders": orders_each, "digest": await digest(pool)}
    async with unbounded(pool) as connection:
        for statement, wanted in FILL_SQL:
            await connection.execute(statement, *(values[name] for name in wanted))


async def digest(pool: Pool) -> bytes:
    """The digest of the receipt of an order."""
    async with pool.acquire() as connection:
        in_force = await rules.in_force(connection, _ENDS)
    bought = PurchaseCompleted(customer_id="customer-1", order_id="1", currency="USD", total="10.00")
    judgement = orders.judge_bought(OrderCase(in_force, bought, _ENDS, 1, NEWCOMER), {}).judgement
    return receipts.digest_of_order(in_force.version, judgement)
