"""A filled database of a release with five states goes on: reasons become signals, and what falls due is known."""

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from services.referrals.handlers.day import sweep
from services.referrals.handlers.verifying import verify
from shared.postgres.migrate import migrations_of
from shared.postgres.pool import Pool, open_pool
from tests.referrals.conftest import apply_to
from tests.referrals.shop import bought, refunded, signed_up
from tests.support.postgres import make_database

SIGNED_UP = datetime(2026, 3, 1, 12, tzinfo=UTC)

OLD_SQL = """
INSERT INTO referral_code VALUES ('ada', 'CDFGHJKM', now());
INSERT INTO purchase (customer_id, order_id, source, purchased_at, currency, total)
SELECT friend, 'o1', '/shop', '2026-03-01 13:00Z', 'USD', 25.00 FROM unnest(ARRAY['paid', 'void', 'early']) AS friend;
INSERT INTO refund (customer_id, order_id, refund_id, refunded_at, amount)
SELECT friend, 'o1', 'r1', '2026-03-01 14:00Z', 25.00 FROM unnest(ARRAY['void', 'early']) AS friend;
INSERT INTO referral (referral_id, advocate_id, friend_id, code, program_version, state, reason, signed_up_at, order_id,
                      qualified_at, approved_at, closed_at, advocate_points, friend_points, recorded_at)
SELECT gen_random_uuid(), 'ada', friend, 'CDFGHJKM', 1, state, reason, '2026-03-01 12:00Z', "order",
       CASE WHEN "order" IS NOT NULL THEN '2026-03-01 13:00Z'::timestamptz END,
       CASE WHEN points THEN '2026-03-01 13:00Z'::timestamptz END, closed::timestamptz,
       CASE WHEN points THEN 500 END, CASE WHEN points THEN 200 END, '2026-03-01 12:00Z'
FROM (VALUES ('open', 'signed_up', NULL, NULL, false, NULL),
             ('paid', 'approved', NULL, 'o1', true, NULL),
             ('void', 'voided', 'refunded', 'o1', true, '2026-03-01 14:00Z'),
             ('early', 'voided', 'refunded', 'o1', false, '2026-03-01 14:00Z'),
             ('ada', 'rejected', 'self_referral', NULL, false, '2026-03-01 12:00Z'),
             ('twice', 'rejected', 'referred_before', NULL, false, '2026-03-01 12:00Z'),
             ('twice', 'rejected', 'referred_before', NULL, false, '2026-03-01 12:00Z'),
             ('late', 'rejected', 'bought_before', NULL, false, '2026-03-01 12:00Z'))
     AS old (friend, state, reason, "order", points, closed);
"""


async def test_a_filled_database_goes_on(postgres_url: str):
    url = await make_database(postgres_url, "platform")
    connection = await asyncpg.connect(url)
    for migration in migrations_of("services.referrals"):
        async with connection.transaction():
            if migration.name == "0005_programs.sql":
                await connection.execute(OLD_SQL)
            await connection.execute(migration.sql)
    await connection.close()
    async with await open_pool(url, application="wafa-test") as pool:
        await _check(pool)


async def _check(pool: Pool) -> None:
    twice = ("twice", "fraud", ["already_referred"])
    assert await _signals(pool) == [("ada", "fraud", ["self"]), ("late", "fraud", ["already_bought"]), twice, twice]
    account = await pool.fetchrow("SELECT customer_id, approved, rewards, points FROM advocate")
    assert account == ("ada", 1, 2, 1_000)
    buckets = await pool.fetch("SELECT rewards, points FROM reward_bucket ORDER BY start")
    assert buckets == [(2, 1_400), (2, 1_400)]
    history = await pool.fetch("""
        SELECT friend_id, array_agg(step.state ORDER BY step.number) FROM referral_step AS step
        JOIN referral USING (referral_id) WHERE friend_id IN ('open', 'paid', 'void', 'late') GROUP BY 1 ORDER BY 1""")
    assert [tuple(row) for row in history] == [
        ("late", ["rejected"]),
        ("open", ["signed_up"]),
        ("paid", ["signed_up", "qualified", "approved"]),
        ("void", ["signed_up", "qualified", "approved", "voided"]),
    ]
    # What is open expires at the end of its window, what is approved is still voided, a repeat is one.
    assert dict(await sweep(pool, SIGNED_UP + timedelta(days=30), None)) == {}
    assert dict(await sweep(pool, SIGNED_UP + timedelta(days=31), None)) == {"expired": 1}
    await apply_to(pool, [bought("open", "o1", 5), signed_up("twice", "CDFGHJKM"), refunded("paid", "o1", "r1", 9)])
    states: Any = await pool.fetch(
        "SELECT friend_id, state FROM referral WHERE friend_id IN ('open', 'paid') ORDER BY 1"
    )
    assert states == [("open", "approved"), ("paid", "voided")]
    assert await pool.fetchval("SELECT count(*) FROM referral") == 8
    assert [check.name async for check in verify(pool, 100) if check.offenders] == []


async def _signals(pool: Pool) -> list[tuple[str, str, list[str]]]:
    rows = await pool.fetch(
        "SELECT friend_id, reason, signals FROM referral WHERE state = 'rejected' ORDER BY friend_id, number"
    )
    return [(row["friend_id"], row["reason"], [signal["id"] for signal in row["signals"]]) for row in rows]
