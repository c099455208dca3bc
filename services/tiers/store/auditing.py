"""Checks of the stored state against itself: each statement finds offenders, of which there should be none."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from services.tiers.rules.program.compiled import Program
from services.tiers.rules.window import DAYS
from services.tiers.store.fractions import from_columns
from shared.contracts.orders import OrderKey
from shared.postgres.checks import Query
from shared.postgres.orders import REFUNDS
from shared.postgres.pool import Connection

# Ranks count from 1, the first tier: an entry of a timeline can only rise above it.
TIMELINES_SQL = """
WITH entry AS (
    SELECT customer_id, effective_at, array_position($2::text[], tier) AS rank,
           lag(array_position($2::text[], tier), 1, 1) OVER own AS rank_before, lag(effective_at) OVER own AS at_before
    FROM timeline
    WINDOW own AS (PARTITION BY customer_id ORDER BY effective_at)
)
SELECT DISTINCT customer_id AS id FROM entry WHERE rank IS NULL OR rank <= rank_before OR effective_at = at_before
LIMIT $1
"""

LAST_SQL = """
WITH last AS (
    SELECT DISTINCT ON (customer_id) customer_id, tier, effective_at
    FROM timeline
    ORDER BY customer_id, effective_at DESC
)
SELECT customer_id AS id
FROM customer FULL JOIN last USING (customer_id)
WHERE (customer.tier, customer.since) IS DISTINCT FROM (last.tier, last.effective_at)
LIMIT $1
"""

INSTANTS_SQL = """
WITH happened AS (
    SELECT customer_id, max(purchased_at) AS purchased_at, greatest(max(purchased_at), max(refunded_at)) AS judged_at
    FROM purchase LEFT JOIN refund USING (customer_id, order_id)
    WHERE currency = $2
    GROUP BY customer_id
)
SELECT customer_id AS id
FROM customer FULL JOIN happened USING (customer_id)
WHERE (customer.purchased_at, customer.judged_at) IS DISTINCT FROM (happened.purchased_at, happened.judged_at)
LIMIT $1
"""

# Sums of thirds of a cent are inexact here, and exact where a customer is judged again.
SPEND_SQL = """
SELECT customer.customer_id AS id
FROM customer LEFT JOIN purchase
  ON purchase.customer_id = customer.customer_id AND currency = $2
 AND purchase.purchased_at >= date_trunc('day', judged_at, 'UTC') - make_interval(days => $3::int - 1)
GROUP BY customer.customer_id
HAVING abs(round(spend, 20) / spend_divisor - coalesce(sum(round(kept, 20) / kept_divisor), 0)) > 1e-9
LIMIT $1
"""

# A refund by line takes at most what its line has left, so more of the order can be kept.
KEPT_SQL = """
WITH returned AS (
    SELECT customer_id, order_id, sum(amount) AS amount, bool_or(lines IS NOT NULL) AS by_line
    FROM refund
    GROUP BY customer_id, order_id
)
SELECT customer_id || '/' || order_id AS id
FROM purchase LEFT JOIN returned USING (customer_id, order_id)
WHERE CASE
    WHEN purchase.lines IS NOT NULL AND by_line THEN kept < kept_divisor * greatest(total - returned.amount, 0)
    ELSE kept <> kept_divisor * greatest(total - coalesce(returned.amount, 0), 0)
END
LIMIT $1
"""

HISTORY_SQL = """
WITH change AS (
    SELECT customer_id, to_tier, lead(id) OVER own IS NULL AS is_last,
           from_tier = lag(to_tier, 1, ($2::text[])[1]) OVER own AND kind = CASE
               sign(array_position($2::text[], to_tier) - array_position($2::text[], from_tier))
               WHEN 1 THEN 'promoted' WHEN -1 THEN 'demoted' WHEN 0 THEN 'corrected' END AS is_next
    FROM tier_change
    WINDOW own AS (PARTITION BY customer_id ORDER BY id)
)
SELECT customer_id AS id FROM change WHERE is_next IS NOT TRUE
UNION
SELECT customer_id
FROM customer FULL JOIN (SELECT customer_id, to_tier FROM change WHERE is_last) AS last USING (customer_id)
WHERE coalesce(customer.tier, ($2::text[])[1]) <> coalesce(last.to_tier, ($2::text[])[1])
LIMIT $1
"""

# An announced change replaces the timeline from its instant on, so it can announce several entries.
ANNOUNCED_SQL = """
SELECT DISTINCT customer_id AS id
FROM timeline
WHERE NOT EXISTS (
    SELECT FROM tier_change
    WHERE tier_change.customer_id = timeline.customer_id AND tier_change.effective_at <= timeline.effective_at
)
LIMIT $1
"""


def queries(program: Program) -> tuple[Query, ...]:
    """The checks of the whole database; `program` is in force."""
    tiers = [tier.id for tier in program.tiers]
    return (
        Query("timelines rise, one entry an instant", TIMELINES_SQL, (tiers,)),
        Query("the current tier = the last entry of the timeline", LAST_SQL),
        Query("the times of judging = the last order and refund", INSTANTS_SQL, (program.currency,)),
        Query("spend = the money kept within the window", SPEND_SQL, (program.currency, DAYS)),
        Query("the money kept = the total less refunds", KEPT_SQL),
        REFUNDS,
        Query("the history leads to the current tier", HISTORY_SQL, (tiers,)),
        Query("every entry of a timeline was announced", ANNOUNCED_SQL),
    )


SAMPLE_SQL = """
SELECT customer_id
FROM customer TABLESAMPLE SYSTEM (least(100, 100.0 * $1 / greatest(1, (SELECT count(*) FROM customer))))
LIMIT $1
"""


async def sample(connection: Connection, count: int) -> list[str]:
    """The ids of about `count` customers; of all if there are fewer."""
    return [row["customer_id"] for row in await connection.fetch(SAMPLE_SQL, count)]


ORDERS_SQL = """
SELECT customer_id, count(*) AS orders
FROM purchase
WHERE customer_id = ANY($1::text[])
GROUP BY customer_id
"""


async def count_orders(connection: Connection, customer_ids: Sequence[str]) -> dict[str, int]:
    """The number of orders of customers, without customers who have none."""
    return {row["customer_id"]: row["orders"] for row in await connection.fetch(ORDERS_SQL, customer_ids)}


KEPT_OF_SQL = "SELECT customer_id, order_id, kept, kept_divisor FROM purchase WHERE customer_id = ANY($1::text[])"


async def load_kept(connection: Connection, customer_ids: Sequence[str]) -> dict[OrderKey, Fraction]:
    """The stored money that is kept of every order of customers."""
    rows: Sequence[Any] = await connection.fetch(KEPT_OF_SQL, customer_ids)
    return {(row["customer_id"], row["order_id"]): from_columns(row["kept"], row["kept_divisor"]) for row in rows}
