"""What the database does for a balance: one look into an index, however long the ledger is."""

from collections.abc import Iterator
from typing import Any

from services.points.store.accounts import FIND_SQL
from shared.postgres.pool import Pool

FILL_SQL = "INSERT INTO account (customer_id) SELECT number::text FROM generate_series(1, 5000) AS number"


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


async def test_a_balance_is_one_row_by_its_index_and_never_reads_the_ledger(points_pool: Pool):
    await points_pool.execute(FILL_SQL)
    await points_pool.execute("ANALYZE account")
    [explained] = await points_pool.fetchval(f"EXPLAIN (FORMAT JSON) {FIND_SQL}", "4711")
    found = [(node["Node Type"], node.get("Relation Name")) for node in nodes(explained["Plan"])]
    assert found == [("Index Scan", "account")]
