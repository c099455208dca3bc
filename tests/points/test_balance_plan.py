"""Query plans: one index lookup, however long the ledger and however many rows a customer has."""

from collections.abc import Iterator
from typing import Any

import pytest

from services.points.store.accounts import FIND_SQL
from services.points.store.orders import ORDERS_SQL
from services.points.store.refunds import REPEATED_SQL
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
    scans = [(node["Node Type"], node.get("Relation Name")) for node in nodes(explained["Plan"])]
    assert scans == [("Index Scan", "account")]


REFUNDS_SQL = """
INSERT INTO refund (customer_id, order_id, refund_id, occurred_at, currency, amount, lines, number)
SELECT 'hot', '1', number::text, now() + number * interval '1 minute', 'USD', '1.00', '[]', number
FROM generate_series(1, 3000) AS number
"""

PURCHASES_SQL = """
INSERT INTO purchase (customer_id, order_id, source, occurred_at, ordinal, rules_version, body, given, multiplier,
                      transaction_ids)
SELECT CASE WHEN number % 2 = 0 THEN 'hot' ELSE number::text END, number::text, '/shop', now(), 1, 1, '{}', '{}', '1',
       '{}'
FROM generate_series(1, 4000) AS number
"""


@pytest.mark.parametrize("analyzed", [False, True], ids=["before statistics", "with statistics"])
async def test_refunds_and_orders_are_found_by_their_keys_however_many_their_customer_has(
    points_pool: Pool, *, analyzed: bool
):
    await points_pool.execute(REFUNDS_SQL)
    await points_pool.execute(PURCHASES_SQL)
    if analyzed:
        await points_pool.execute("ANALYZE refund, purchase")
    for statement, arguments, index in (
        (REPEATED_SQL, ("hot", "1", "7"), "refund_pkey"),
        (ORDERS_SQL, ("hot", "8"), "purchase_pkey"),
    ):
        [explained] = await points_pool.fetchval(f"EXPLAIN (FORMAT JSON) {statement}", *arguments)
        indexes = [node["Index Name"] for node in nodes(explained["Plan"]) if "Index Name" in node]
        assert indexes == [index]
