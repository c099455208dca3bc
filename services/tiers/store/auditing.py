"""Checks of the stored state against itself: each statement finds offenders, of which there should be none."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from services.tiers.rules.counting import About
from services.tiers.rules.metrics import Change
from services.tiers.rules.reversing import Transaction
from services.tiers.store.fractions import from_columns
from shared.contracts.orders import OrderKey
from shared.postgres.checks import Query
from shared.postgres.orders import REFUNDS
from shared.postgres.pool import Connection

# Sums of thirds of a cent are inexact here, and exact where a customer's orders are recounted.
TAKEN_SQL = """
WITH lowered AS (
    SELECT customer_id, about, sum(amount / divisor) FILTER (WHERE metric = 'spend') AS spend,
           coalesce(sum(amount) FILTER (WHERE metric = 'orders'), 0) AS orders
    FROM taken
    WHERE metric IN ('spend', 'orders')
    GROUP BY customer_id, about
)
SELECT coalesce(lowered.customer_id || '/' || lowered.about, purchase.customer_id || '/order/' || order_id) AS id
FROM lowered FULL JOIN purchase
  ON purchase.customer_id = lowered.customer_id AND 'order/' || purchase.order_id = lowered.about
LEFT JOIN customer ON customer.customer_id = purchase.customer_id
WHERE carried IS NOT false AND (
    order_id IS NULL OR coalesce(orders, 0) <> CASE WHEN gone_at IS NULL THEN 0 ELSE -1 END
    OR coalesce(spend, 0) NOT BETWEEN -total - 1e-9 AND 0
    OR (gone_at IS NOT NULL) <> (total > 0 AND total + coalesce(spend, 0) < 1e-9)
)
LIMIT $1
"""

TAKEN_BACK_SQL = """
WITH lowered AS (
    SELECT customer_id, about, metric, min(at) AS at, sum(amount) AS amount
    FROM taken
    WHERE metric IN ('reviews', 'referrals')
    GROUP BY customer_id, about, metric
), lost AS (
    SELECT customer_id, kind || '/' || key AS about, kind || 's' AS metric, greatest(earned_at, taken_at) AS at, amount
    FROM counted
    WHERE kind IN ('review', 'referral') AND taken_at IS NOT NULL
)
SELECT customer_id || '/' || about AS id
FROM lowered FULL JOIN lost USING (customer_id, about, metric)
WHERE (lowered.at, -lowered.amount) IS DISTINCT FROM (lost.at, lost.amount)
LIMIT $1
"""

REVERSED_SQL = """
WITH lowered AS (
    SELECT customer_id, about, sum(amount) AS points FROM taken WHERE metric = 'points' GROUP BY customer_id, about
), moved AS (
    SELECT customer_id, about, coalesce(sum(amount) FILTER (WHERE kind = 'points'), 0) AS earned,
           coalesce(sum(amount) FILTER (WHERE kind = 'reversal'), 0) AS reversed
    FROM counted
    WHERE about IS NOT NULL
    GROUP BY customer_id, about
)
SELECT customer_id || '/' || about AS id
FROM lowered FULL JOIN moved USING (customer_id, about)
WHERE coalesce(-points, 0) IS DISTINCT FROM least(earned, reversed)
LIMIT $1
"""

CHAIN_SQL = """
WITH entry AS (
    SELECT customer_id, from_tier, state, lag(tier) OVER (PARTITION BY customer_id ORDER BY effective_at) AS tier_before
    FROM timeline
)
SELECT DISTINCT customer_id AS id FROM entry WHERE state IS NOT NULL AND from_tier <> tier_before
LIMIT $1
"""

HISTORY_SQL = """
WITH change AS (
    SELECT customer_id, from_tier, to_tier, lag(to_tier) OVER own AS to_before, lead(id) OVER own IS NULL AS is_last
    FROM tier_change
    WINDOW own AS (PARTITION BY customer_id ORDER BY id)
)
SELECT DISTINCT customer_id AS id
FROM change LEFT JOIN customer USING (customer_id)
WHERE from_tier <> to_before OR (is_last AND rejudge_from IS NULL AND to_tier IS DISTINCT FROM tier)
LIMIT $1
"""

LAST_SQL = """
WITH last AS (
    SELECT DISTINCT ON (customer_id) customer_id, tier, valid_until
    FROM timeline
    ORDER BY customer_id, effective_at DESC
)
SELECT customer_id AS id
FROM last LEFT JOIN customer USING (customer_id)
WHERE rejudge_from IS NULL AND (customer.tier, customer.valid_until) IS DISTINCT FROM (last.tier, last.valid_until)
LIMIT $1
"""

WARNED_SQL = """
SELECT DISTINCT customer_id || '/' || days AS id
FROM (
    SELECT customer_id, days, told_at, valid_until, count(*) OVER (PARTITION BY customer_id, valid_until, days) AS times
    FROM at_risk
) AS warned
WHERE times > 1 OR told_at >= valid_until
LIMIT $1
"""

QUERIES: Final = (
    Query("what was taken of an order is at most its total", TAKEN_SQL),
    Query("reviews and referrals that were taken back count no more", TAKEN_BACK_SQL),
    Query("no more points were reversed than earned", REVERSED_SQL),
    REFUNDS,
    Query("entries of timelines follow from each other", CHAIN_SQL),
    Query("the history leads to the current tier", HISTORY_SQL),
    Query("the current tier = the last entry of the timeline", LAST_SQL),
    Query("warnings of tiers at risk were told once, before the end", WARNED_SQL),
)
"""The checks of the whole database."""


SAMPLE_SQL = """
SELECT customer_id
FROM customer TABLESAMPLE SYSTEM (least(100, 100.0 * $1 / greatest(1, (SELECT count(*) FROM customer))))
WHERE carried
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


GONE_SQL = """
SELECT customer_id, order_id, gone_at FROM purchase WHERE customer_id = ANY($1::text[]) AND gone_at IS NOT NULL
"""


async def load_gone(connection: Connection, customer_ids: Sequence[str]) -> dict[OrderKey, datetime]:
    """The instants from which nothing of customers' orders is kept."""
    rows: Sequence[Any] = await connection.fetch(GONE_SQL, customer_ids)
    return {(row["customer_id"], row["order_id"]): row["gone_at"] for row in rows}


TAKINGS_SQL = """
SELECT customer_id, about, at, earned_at, metric, name, amount, divisor
FROM taken
WHERE customer_id = ANY($1::text[]) AND metric IN ('spend', 'orders', 'points')
"""


async def load_takings(connection: Connection, customer_ids: Sequence[str]) -> dict[str, list[tuple[str, Change]]]:
    """What was taken of customers' orders and points, by customer, each with what it was a part of."""
    takings: defaultdict[str, list[tuple[str, Change]]] = defaultdict(list)
    rows: Sequence[Any] = await connection.fetch(TAKINGS_SQL, customer_ids)
    for customer_id, about, at, earned_at, metric, name, amount, divisor in rows:
        change = Change(at, earned_at, metric, name, from_columns(metric, amount, divisor), is_taking=True)
        takings[customer_id].append((about, change))
    return takings


TRANSACTIONS_SQL = """
SELECT counted.customer_id, counted.about, earned_at, key,
       CASE kind WHEN 'points' THEN amount ELSE -amount END AS points
FROM counted JOIN reversing USING (customer_id, about)
WHERE counted.customer_id = ANY($1::text[])
"""


async def load_transactions(connection: Connection, customer_ids: Sequence[str]) -> dict[About, list[Transaction]]:
    """The transactions of customers' reasons that have several, by reason."""
    transactions: defaultdict[About, list[Transaction]] = defaultdict(list)
    rows: Sequence[Any] = await connection.fetch(TRANSACTIONS_SQL, customer_ids)
    for customer_id, about, time, id_, points in rows:
        transactions[customer_id, about].append(Transaction(time, id_, int(points)))
    return transactions
