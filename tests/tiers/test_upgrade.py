"""Databases of earlier releases go on: what they recorded is compared, recounted and judged again."""

from collections.abc import Sequence

import asyncpg

from services.tiers.handlers.rejudging import rejudge
from services.tiers.handlers.verifying import verify
from services.tiers.store import customers
from shared.postgres.migrate import migrations_of
from shared.postgres.pool import open_pool
from tests.support.postgres import make_database
from tests.tiers.applied import NOW, apply, published, read_status, timeline
from tests.tiers.conftest import Counted
from tests.tiers.shop import NOON, day, purchase, refund

ROWS_SQL = (
    """INSERT INTO purchase (customer_id, order_id, source, purchased_at, currency, total, lines, kept, folded)
       VALUES ('ann', '1', '/shop/web', $1, 'USD', 300.00, '[["a", "300.00"]]', 290.00, NULL)""",
    "INSERT INTO refund (customer_id, order_id, refund_id, refunded_at, amount) VALUES ('ann', '1', 'r', $1, 10.00)",
    """INSERT INTO customer (customer_id, judged_at, purchased_at, spend, loose) VALUES ('ann', $1, $1, 290, NULL)""",
)


async def upgraded(postgres_url: str, first: str, rows: Sequence[str]) -> str:
    """The URL of a database with rows that were there before the migration `first`, which take NOON as an argument."""
    url = await make_database(postgres_url, "platform")
    migrations = list(migrations_of("services.tiers"))
    [number] = [place for place, migration in enumerate(migrations) if migration.name == first]
    connection = await asyncpg.connect(url)
    for migration in migrations[:number]:
        await connection.execute(migration.sql)
    for statement in rows:
        await connection.execute(statement, NOON)
    for migration in migrations[number:]:
        async with connection.transaction():
            await connection.execute(migration.sql)
    await connection.close()
    return url


async def test_a_database_without_digests_goes_on(postgres_url: str, counted: Counted):
    url = await upgraded(postgres_url, "0003_digests.sql", ROWS_SQL)
    async with await open_pool(url, application="wafa-test") as pool:
        again = (purchase("1", "300.00", lines=[("a", "300.00")]), refund("1", "r", "10.00"))
        other = (purchase("1", "301.00", lines=[("a", "301.00")]), refund("1", "r", "11.00"))
        new = (purchase("2", "10.00"), refund("1", "s", "90.00"))
        assert await apply(pool, *again, *other, *new) == []
        assert counted() == {"natural_key": 2, "repeat_differs": 2}
        rows = await pool.fetch("SELECT order_id, gone_at, digest IS NULL FROM purchase ORDER BY order_id")
        assert [tuple(row) for row in rows] == [("1", None, True), ("2", None, False)]
        assert await pool.fetch("SELECT refund_id, digest IS NULL FROM refund ORDER BY refund_id") == [
            ("r", True),
            ("s", False),
        ]


# Ann reached Silver, and half of her order came back since. Bob's only order came back whole.
CURVES_SQL = (
    """INSERT INTO purchase (customer_id, order_id, source, purchased_at, currency, total, lines, kept, kept_divisor,
                             folded)
       VALUES ('ann', '1', '/shop/web', $1, 'USD', 600.00, '[["a", "300.00"], ["b", "300.00"]]', 290.00, 1, NULL),
              ('bob', '1', '/shop/web', $1, 'EUR', 20.00, NULL, 0, 1, NULL),
              ('zoe', '1', '/shop/web', $1, 'USD', 10.00, NULL, 10.00, 1, '{}'),
              ('zoe', '2', '/shop/web', $1, 'USD', 0.00, NULL, 0, 1, '{}')""",
    """INSERT INTO refund (customer_id, order_id, refund_id, refunded_at, amount, lines)
       VALUES ('ann', '1', 'r', $1::timestamptz + interval '1 day', 300.00, '[["a", "300.00"]]'),
              ('ann', '1', 's', $1::timestamptz + interval '2 days', 10.00, NULL),
              ('bob', '1', 'r', $1::timestamptz - interval '1 day', 5.00, NULL),
              ('bob', '1', 's', $1::timestamptz + interval '3 days', 99.00, NULL)""",
    """INSERT INTO customer (customer_id, judged_at, purchased_at, spend, tier, since)
       VALUES ('ann', $1::timestamptz + interval '2 days', $1, 290, 'silver', $1),
              ('bob', $1::timestamptz + interval '3 days', $1, 0, NULL, NULL),
              ('zoe', $1, $1, 10, NULL, NULL)""",
    "INSERT INTO timeline (customer_id, effective_at, tier) VALUES ('ann', $1, 'silver')",
    """INSERT INTO tier_change (customer_id, kind, from_tier, to_tier, reason, program_version, effective_at,
                                recorded_at, event_source, event_id)
       VALUES ('ann', 'promoted', 'member', 'silver', 'spend', 1, $1, $1, '/shop/web', 'e')""",
)


async def test_what_was_taken_before_is_recounted_and_nobody_moves(postgres_url: str):
    url = await upgraded(postgres_url, "0005_what_counts.sql", CURVES_SQL)
    async with await open_pool(url, application="wafa-test") as pool:
        # Events between the migration and the job are recorded with the rest.
        await apply(pool, refund("1", "t", "1.00", day(4)))
        assert await customers.count_marked(pool) == 3
        await rejudge(pool, NOW)
        assert await customers.count_marked(pool) == 0
        assert await published(pool) == []
        assert await timeline(pool) == [(NOON, "silver")]
        assert await pool.fetchval("SELECT count(*) FROM tier_change") == 1
        taken = await pool.fetch("SELECT customer_id, at, metric, amount FROM taken ORDER BY customer_id, at, metric")
        assert [tuple(row) for row in taken] == [
            ("ann", day(1), "spend", -300),
            ("ann", day(2), "spend", -10),
            ("ann", day(4), "spend", -1),
            ("bob", day(0), "spend", -5),
            ("bob", day(3), "orders", -1),
            ("bob", day(3), "spend", -15),
        ]
        assert await pool.fetchval("SELECT gone_at FROM purchase WHERE customer_id = 'bob'") == day(3)
        assert (await read_status(pool, "ann", day(5))).spend == 289
        assert [check.name async for check in verify(pool, 10, NOW) if check.offenders] == []
        await rejudge(pool, NOW)
        # From here on, refunds are recorded as ever.
        await apply(pool, refund("1", "u", "289.00", day(9)), purchase("2", "30.00", day(10), customer_id="zoe"))
        assert await pool.fetchval("SELECT gone_at FROM purchase WHERE customer_id = 'ann'") == day(9)
        assert await timeline(pool) == [(NOON, "silver")]
