"""What is erased of the books of a customer: free text. Ids, points, money and times stay."""

from collections.abc import Sequence

from shared.messaging import erasure
from shared.messaging.erasure import Erasure
from shared.postgres.pool import Connection


async def erase(connection: Connection, erasures: Sequence[Erasure], most: int) -> int:
    """Erase what was written about customers in words; see `erasure.EraseOwn`. Dates of birth are the fold's."""
    erased = await _erase_notes(connection, erasures, most)
    erased += await _erase_adjustments(connection, erasures, most)
    return erased + await _erase_coupons(connection, erasures, most)


ERASE_NOTES_SQL = """
WITH covered AS (
    SELECT id
    FROM transaction JOIN unnest($1::text[], $2::timestamptz[]) AS erased (customer_id, at) USING (customer_id)
    WHERE kind = 'adjusted' AND recorded_at <= erased.at
      AND (inputs::text <> '{}' OR reason ->> 'note' IS NOT NULL)
    LIMIT $3
    FOR UPDATE OF transaction SKIP LOCKED
)
UPDATE transaction SET reason = '{"kind":"adjustment"}', inputs = '{}'
FROM covered
WHERE transaction.id = covered.id
RETURNING transaction.id
"""


async def _erase_notes(connection: Connection, erasures: Sequence[Erasure], most: int) -> int:
    """The reason and the note of adjustments, which support wrote."""
    customers, _, _, recorded_at = erasure.columns(erasures)
    return len(await connection.fetch(ERASE_NOTES_SQL, customers, recorded_at, most))


ERASE_ADJUSTMENTS_SQL = """
WITH covered AS (
    SELECT customer_id, transaction_id
    FROM adjustment JOIN unnest($1::text[], $2::timestamptz[]) AS erased (customer_id, at) USING (customer_id)
    WHERE made_at <= erased.at AND (reason IS NOT NULL OR note IS NOT NULL)
    LIMIT $3
    FOR UPDATE OF adjustment SKIP LOCKED
)
UPDATE adjustment SET reason = NULL, note = NULL
FROM covered
WHERE adjustment.customer_id = covered.customer_id AND adjustment.transaction_id = covered.transaction_id
RETURNING adjustment.transaction_id
"""


async def _erase_adjustments(connection: Connection, erasures: Sequence[Erasure], most: int) -> int:
    """The same where they are kept for support: who made them, and when, stays."""
    customers, _, _, recorded_at = erasure.columns(erasures)
    return len(await connection.fetch(ERASE_ADJUSTMENTS_SQL, customers, recorded_at, most))


# Orders that were kept by a version before 0006_erasure have them; no rule ever looked at them.
ERASE_COUPONS_SQL = """
WITH covered AS (
    SELECT customer_id, order_id
    FROM purchase JOIN unnest($1::text[], $2::timestamptz[]) AS erased (customer_id, at) USING (customer_id)
    WHERE occurred_at <= erased.at AND body -> 'coupon_codes' IS NOT NULL
    LIMIT $3
    FOR UPDATE OF purchase SKIP LOCKED
)
UPDATE purchase SET body = (body::jsonb - 'coupon_codes')::json
FROM covered
WHERE purchase.customer_id = covered.customer_id AND purchase.order_id = covered.order_id
RETURNING purchase.order_id
"""


async def _erase_coupons(connection: Connection, erasures: Sequence[Erasure], most: int) -> int:
    """Coupon codes of orders, which may be made for one person."""
    customers, erased_at, _, _ = erasure.columns(erasures)
    return len(await connection.fetch(ERASE_COUPONS_SQL, customers, erased_at, most))
