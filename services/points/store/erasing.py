"""Erasure of a customer's free text. Ids, points, money and times are kept."""

from collections.abc import Sequence

from shared.messaging import erasure
from shared.messaging.erasure import Erasure
from shared.postgres.pool import Connection


async def erase(connection: Connection, erasures: Sequence[Erasure], most: int) -> int:
    """Erase free text about customers; see `erasure.EraseOwn`. The fold erases dates of birth."""
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
    """Erase the reasons and notes that support wrote, in the transactions of adjustments."""
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
    """Erase them in the adjustments too; author and time are kept."""
    customers, _, _, recorded_at = erasure.columns(erasures)
    return len(await connection.fetch(ERASE_ADJUSTMENTS_SQL, customers, recorded_at, most))


# Orders stored before the migration 0006_erasure have coupon codes, which no rule ever used.
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
    """Erase the coupon codes of orders: a code may be made for one person."""
    customers, erased_at, _, _ = erasure.columns(erasures)
    return len(await connection.fetch(ERASE_COUPONS_SQL, customers, erased_at, most))
