"""Erasure of what support wrote about a customer. Ids, tiers, amounts, times and authors are kept."""

from collections.abc import Sequence

from shared.messaging import erasure
from shared.messaging.erasure import Erasure
from shared.postgres.pool import Connection


async def erase(connection: Connection, erasures: Sequence[Erasure], most: int) -> int:
    """Erase the notes of tiers given by hand; see `erasure.EraseOwn`."""
    return await _erase_assignments(connection, erasures, most) + await _erase_changes(connection, erasures, most)


ERASE_ASSIGNMENTS_SQL = """
WITH covered AS (
    SELECT id
    FROM assignment JOIN unnest($1::text[], $2::timestamptz[]) AS erased (customer_id, recorded_at) USING (customer_id)
    WHERE at <= recorded_at AND note IS NOT NULL
    LIMIT $3
    FOR UPDATE OF assignment SKIP LOCKED
)
UPDATE assignment SET note = NULL
FROM covered
WHERE assignment.id = covered.id
RETURNING assignment.id
"""


async def _erase_assignments(connection: Connection, erasures: Sequence[Erasure], most: int) -> int:
    customers, _, _, recorded_at = erasure.columns(erasures)
    return len(await connection.fetch(ERASE_ASSIGNMENTS_SQL, customers, recorded_at, most))


ERASE_CHANGES_SQL = """
WITH covered AS (
    SELECT id
    FROM tier_change JOIN unnest($1::text[], $2::timestamptz[]) AS erased (customer_id, erased_at) USING (customer_id)
    WHERE recorded_at <= erased_at AND note IS NOT NULL
    LIMIT $3
    FOR UPDATE OF tier_change SKIP LOCKED
)
UPDATE tier_change SET note = NULL
FROM covered
WHERE tier_change.id = covered.id
RETURNING tier_change.id
"""


async def _erase_changes(connection: Connection, erasures: Sequence[Erasure], most: int) -> int:
    """Erase them in the history too."""
    customers, _, _, recorded_at = erasure.columns(erasures)
    return len(await connection.fetch(ERASE_CHANGES_SQL, customers, recorded_at, most))
