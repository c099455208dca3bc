"""Consistency checks of webhooks: each statement selects violations."""

from datetime import datetime
from typing import Final

from services.notifications.rules.webhook import PAUSES
from shared.postgres.checks import Query

# The longest pause with its spread, and what an endpoint may ask for at most.
_LATEST: Final = max(PAUSES) * 2

STATES_SQL = """
SELECT id::text AS id
FROM webhook_delivery
WHERE NOT coalesce(
    tries <= attempts AND jsonb_array_length(log) <= attempts
    AND CASE state
        WHEN 'delivered' THEN attempts > 0 AND jsonb_path_exists(log, '$[*] ? (@.status >= 200 && @.status < 300)')
        WHEN 'failed' THEN attempts > 0
        ELSE due_at <= $2
    END, false)
LIMIT $1
"""

OWNERS_SQL = """
SELECT id::text AS id
FROM webhook_delivery
WHERE NOT EXISTS (SELECT FROM webhook_endpoint WHERE webhook_endpoint.id = endpoint_id)
LIMIT $1
"""

PAYLOADS_SQL = """
SELECT id::text AS id
FROM webhook_delivery
WHERE NOT coalesce(CASE WHEN payload IS JSON OBJECT THEN
    payload::json ->> 'type' = type AND (payload::json ->> 'timestamp')::timestamptz = occurred_at
    AND payload::json -> 'data' ->> 'customer_id' = customer_id
END, false)
LIMIT $1
"""

ERASED_SQL = """
SELECT id::text AS id
FROM webhook_delivery JOIN erasure USING (customer_id)
WHERE occurred_at <= erased_at AND look_at IS NULL
LIMIT $1
"""


def queries(now: datetime) -> tuple[Query, ...]:
    """The checks of all rows, as of an instant."""
    return (
        Query("states of webhooks are valid", STATES_SQL, (now + _LATEST,)),
        Query("webhooks have their endpoint", OWNERS_SQL),
        Query("webhooks tell of their event", PAYLOADS_SQL),
        Query("no webhook tells of erased customers", ERASED_SQL),
    )
