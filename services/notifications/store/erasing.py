"""What an erasure removes of a customer."""

from collections.abc import Sequence

from services.notifications.store import deliveries, experiments, forgetting, messages
from shared.messaging import erasure
from shared.messaging.erasure import Erasure
from shared.postgres.pool import Connection

# After an erasure nothing is stored before the next registration, so later rows are removed too.
CONSENTS_SQL = """
WITH covered AS (
    SELECT number
    FROM consent
    JOIN unnest($1::text[], $2::timestamptz[]) AS erased (customer_id, at) USING (customer_id)
    JOIN customer USING (customer_id)
    WHERE consent.at <= erased.at OR seen_at IS NULL
    LIMIT $3
    FOR UPDATE OF consent SKIP LOCKED
)
DELETE FROM consent USING covered WHERE consent.number = covered.number
RETURNING consent.number
"""


async def _erase_consents(connection: Connection, erasures: Sequence[Erasure], most: int) -> int:
    customers, erased_at, _, _ = erasure.columns(erasures)
    return len(await connection.fetch(CONSENTS_SQL, customers, erased_at, most))


PREFERENCES_SQL = """
WITH covered AS (
    SELECT preference.customer_id
    FROM preference
    JOIN unnest($1::text[], $2::timestamptz[]) AS erased (customer_id, at) USING (customer_id)
    JOIN customer USING (customer_id)
    WHERE updated_at <= erased.at OR seen_at IS NULL
    LIMIT $3
    FOR UPDATE OF preference SKIP LOCKED
)
DELETE FROM preference USING covered WHERE preference.customer_id = covered.customer_id
RETURNING preference.customer_id
"""


async def _erase_preferences(connection: Connection, erasures: Sequence[Erasure], most: int) -> int:
    customers, erased_at, _, _ = erasure.columns(erasures)
    return len(await connection.fetch(PREFERENCES_SQL, customers, erased_at, most))


BROWSERS_SQL = """
WITH covered AS (
    SELECT id
    FROM push_subscription AS browser
    JOIN unnest($1::text[], $2::timestamptz[]) AS erased (customer_id, at) USING (customer_id)
    JOIN customer USING (customer_id)
    WHERE created_at <= erased.at OR seen_at IS NULL
    LIMIT $3
    FOR UPDATE OF browser SKIP LOCKED
)
DELETE FROM push_subscription USING covered WHERE push_subscription.id = covered.id
RETURNING push_subscription.id
"""


async def _erase_browsers(connection: Connection, erasures: Sequence[Erasure], most: int) -> int:
    customers, erased_at, _, _ = erasure.columns(erasures)
    return len(await connection.fetch(BROWSERS_SQL, customers, erased_at, most))


REACHED_SQL = """
WITH covered AS (
    SELECT hash, reached.customer_id
    FROM reached
    JOIN unnest($1::text[], $2::timestamptz[]) AS erased (customer_id, at) USING (customer_id)
    JOIN customer USING (customer_id)
    WHERE reached.at <= erased.at OR seen_at IS NULL
    LIMIT $3
    FOR UPDATE OF reached SKIP LOCKED
)
DELETE FROM reached USING covered
WHERE reached.hash = covered.hash AND reached.customer_id = covered.customer_id
RETURNING reached.customer_id
"""


async def _erase_reached(connection: Connection, erasures: Sequence[Erasure], most: int) -> int:
    customers, erased_at, _, _ = erasure.columns(erasures)
    return len(await connection.fetch(REACHED_SQL, customers, erased_at, most))


async def erase(connection: Connection, erasures: Sequence[Erasure], most: int) -> int:
    """Remove everything of erased customers but their times of erasure; see `erasure.EraseOwn`.

    What lies after an erasure stays if the customer registered again.
    """
    parts = (
        messages.erase,
        forgetting.erase,
        deliveries.erase,
        _erase_consents,
        _erase_preferences,
        _erase_browsers,
        _erase_reached,
        experiments.erase,
    )
    return sum([await part(connection, erasures, most) for part in parts])
