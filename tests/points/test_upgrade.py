"""What the first version left behind is read by this one: reviews, what was given, and what their limits used."""

import asyncpg

from services.points.rules.limits import Use, UseKey
from services.points.store import limits, loading
from shared.postgres.migrate import migrations_of
from shared.postgres.pool import open_pool
from tests.points.shop import hour
from tests.support.postgres import make_database

REVIEWS_SQL = """
INSERT INTO review (customer_id, review_id, sku, occurred_at, verified, rules_version, awarded, withdrawn)
VALUES ('ann', 'paid', 's', $1, true, 1, 50, false), ('ann', 'cut', 's', $1, true, 1, 0, false),
       ('ann', 'unverified', 't', $1, false, 1, 0, false), ('ann', 'gone', 'u', $1, true, 1, 50, true)
"""

PURCHASE_SQL = """
INSERT INTO purchase (customer_id, order_id, source, occurred_at, ordinal, rules_version, body, given, multiplier,
                      transaction_ids)
VALUES ('ann', '1', '/shop', $1, 1, 1, '{"currency": "USD", "total": "100.00"}', '{"base": 100, "tier": 25}', '1.25',
        '{}')
"""


async def test_a_database_of_the_first_version_goes_on(postgres_url: str):
    fresh = await make_database(postgres_url, "platform")
    ledger, *later = migrations_of("services.points")
    connection = await asyncpg.connect(fresh)
    await connection.execute(ledger.sql)
    await connection.execute(REVIEWS_SQL, hour(0))
    await connection.execute(PURCHASE_SQL, hour(0))
    for migration in later:
        await connection.execute(migration.sql)
    await connection.close()
    names = ("paid", "cut", "unverified", "gone")
    async with await open_pool(fresh, application="wafa-test") as pool, pool.acquire() as opened:
        found = await loading.accruals_by_key(opened, [("ann", f"review/{name}") for name in names])
        known = {name: found["ann", f"review/{name}"] for name in names}
        assert [(one.given, one.withdrawn) for one in known.values()] == [
            ({"review": 50}, False),
            ({}, False),
            ({}, False),
            ({}, True),
        ]
        used = UseKey("ann", "review", "customer_sku/ever/s")
        spare = UseKey("ann", "review", "customer_sku/ever/u")
        assert await limits.load(opened, [used, spare]) == {used: Use(1, 50)}
        orders = await loading.orders_by_key(opened, [("ann", "1")])
        assert orders["ann", "1"].given == {"base": 100, "tier:extra": 25}
