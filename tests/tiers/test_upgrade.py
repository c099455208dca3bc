"""A database from before digests goes on: its orders and refunds are compared by their times and their money."""

import asyncpg

from shared.postgres.migrate import migrations_of
from shared.postgres.pool import open_pool
from tests.support.postgres import make_database
from tests.tiers.applied import apply
from tests.tiers.conftest import Counted
from tests.tiers.shop import NOON, purchase, refund

ROWS_SQL = (
    """INSERT INTO purchase (customer_id, order_id, source, purchased_at, currency, total, lines, kept, folded)
       VALUES ('ann', '1', '/shop/web', $1, 'USD', 300.00, '[["a", "300.00"]]', 290.00, NULL)""",
    "INSERT INTO refund (customer_id, order_id, refund_id, refunded_at, amount) VALUES ('ann', '1', 'r', $1, 10.00)",
    """INSERT INTO customer (customer_id, judged_at, purchased_at, spend, loose) VALUES ('ann', $1, $1, 290, NULL)""",
)


async def test_a_database_without_digests_goes_on(postgres_url: str, counted: Counted):
    url = await make_database(postgres_url, "platform")
    migrations = list(migrations_of("services.tiers"))
    [number] = [place for place, migration in enumerate(migrations) if migration.name == "0003_digests.sql"]
    connection = await asyncpg.connect(url)
    for migration in migrations[:number]:
        await connection.execute(migration.sql)
    for statement in ROWS_SQL:
        await connection.execute(statement, NOON)
    for migration in migrations[number:]:
        async with connection.transaction():
            await connection.execute(migration.sql)
    await connection.close()
    async with await open_pool(url, application="wafa-test") as pool:
        again = (purchase("1", "300.00", lines=[("a", "300.00")]), refund("1", "r", "10.00"))
        other = (purchase("1", "301.00", lines=[("a", "301.00")]), refund("1", "r", "11.00"))
        new = (purchase("2", "10.00"), refund("1", "s", "90.00"))
        assert await apply(pool, *again, *other, *new) == []
        assert counted() == {"natural_key": 2, "repeat_differs": 2}
        rows = await pool.fetch("SELECT order_id, kept, digest IS NULL FROM purchase ORDER BY order_id")
        assert [tuple(row) for row in rows] == [("1", 200, True), ("2", 10, False)]
        assert await pool.fetch("SELECT refund_id, digest IS NULL FROM refund ORDER BY refund_id") == [
            ("r", True),
            ("s", False),
        ]
