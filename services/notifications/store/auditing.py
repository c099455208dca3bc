"""Consistency checks of the database: each statement selects violations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from services.notifications.rules.gate import LONGEST_RETRY, OLDEST, PATIENCE
from services.notifications.rules.message import Channel, Reason
from services.notifications.rules.profile import Profile
from services.notifications.store.customers import to_profile
from shared.postgres.checks import Query
from shared.postgres.pool import Connection

OVERDUE: Final = timedelta(minutes=10)
"""How late a due mail may be claimed: workers look every second, and take mails over after a dead worker's lease."""

_LOST: Final = 3 * OVERDUE
"""The time that a mail may lose to workers that die while they own it: a lease each."""

_QUIET: Final = timedelta(hours=26)
"""How long quiet hours are at most: a day, and a change of the clock."""

_FAILED: Final = (Reason.REJECTED, Reason.GIVEN_UP, Reason.TEMPLATE_ERROR)
_NOT_SHOWN: Final = (
    Reason.TOPIC_OPTED_OUT,
    Reason.DUPLICATE,
    Reason.HOLDOUT,
    Reason.JOURNEY_STOPPED,
    Reason.TEMPLATE_ERROR,
)
_HELD: Final = (Reason.NO_PROFILE, Reason.QUIET_HOURS)
_SKIPPED: Final = tuple(reason for reason in Reason if reason not in {Reason.REJECTED, Reason.GIVEN_UP})

# A trigger event gives each send step of a journey one message on a channel at most.
EVENTS_SQL = """
SELECT customer_id || '/' || trigger || '/' || causation_id AS id
FROM message
GROUP BY customer_id, channel, trigger, step, causation_id
HAVING count(*) > 1
LIMIT $1
"""

STATES_SQL = """
SELECT id::text AS id
FROM message
WHERE NOT coalesce((due_at IS NOT NULL) = (state IN ('held', 'queued')) AND CASE
    WHEN facts IS NULL THEN channel = 'in_app' AND title <> '' AND body <> ''
    ELSE json_typeof(facts) = 'object'
END AND (channel <> 'in_app' OR attempts = 0) AND (channel = 'in_app' OR read_at IS NULL) AND CASE state
    WHEN 'held' THEN reason = ANY($2::text[])
    WHEN 'queued' THEN reason IS NULL
    WHEN 'sent' THEN reason IS NULL AND (channel = 'in_app' OR attempts > 0)
    WHEN 'skipped' THEN reason = ANY($3::text[]) AND (channel <> 'in_app' OR reason = ANY($5::text[]))
    WHEN 'failed' THEN reason = ANY($4::text[]) AND (channel = 'in_app' OR attempts > 0)
END, false)
LIMIT $1
"""

OLD_SQL = """
SELECT id::text AS id
FROM message
WHERE channel = 'email' AND kind = 'transactional' AND created_at - occurred_at > $2::interval AND state <> 'skipped'
LIMIT $1
"""

# A customer who was erased since had a profile before; the address may have changed or be gone.
TRIED_SQL = """
SELECT message.id::text AS id
FROM message LEFT JOIN customer USING (customer_id)
WHERE customer.customer_id IS NULL
   OR (channel = 'email' AND state IN ('sent', 'failed') AND seen_at IS NULL AND erased_at IS NULL)
LIMIT $1
"""

ERASED_SQL = """
SELECT message.id::text AS id
FROM message JOIN customer USING (customer_id)
WHERE (occurred_at <= erased_at OR (erased_at IS NOT NULL AND seen_at IS NULL))
  AND NOT EXISTS (
      SELECT FROM erasure WHERE erasure.customer_id = customer.customer_id AND look_at IS NOT NULL -- not finished
  )
UNION ALL
SELECT customer_id
FROM customer
WHERE seen_at <= erased_at OR (erased_at IS NOT NULL AND (seen_at IS NULL) <> (registered_at IS NULL))
   OR ((seen_at IS NULL OR erased_at IS NOT NULL) AND EXISTS (
       SELECT FROM json_each(details) AS detail
       WHERE seen_at IS NULL OR (detail.value->>'at')::timestamptz <= erased_at
   ))
LIMIT $1
"""

# In force is the newest entry; of entries at one time, the withdrawal.
CONSENTS_SQL = """
WITH newest AS (
    SELECT DISTINCT ON (customer_id, channel) customer_id, channel, action = 'granted' AS granted, at
    FROM consent
    ORDER BY customer_id, channel, at DESC, action = 'withdrawn' DESC
), stored AS (
    SELECT customer_id, standing.key AS channel, (standing.value ->> 'granted')::boolean AS granted,
           (standing.value ->> 'at')::timestamptz AS at
    FROM customer, json_each(consents) AS standing
)
SELECT customer_id || '/' || channel AS id
FROM newest FULL JOIN stored USING (customer_id, channel)
WHERE (coalesce(newest.granted, false) <> coalesce(stored.granted, false) OR newest.at IS DISTINCT FROM stored.at)
  AND NOT EXISTS (SELECT FROM erasure WHERE erasure.customer_id = coalesce(newest.customer_id, stored.customer_id)
                                        AND look_at IS NOT NULL)
LIMIT $1
"""

KEPT_SQL = """
WITH kept AS (
    SELECT customer_id, at FROM consent
    UNION ALL SELECT customer_id, updated_at FROM preference
    UNION ALL SELECT customer_id, created_at FROM push_subscription
    UNION ALL SELECT customer_id, at FROM reached
)
SELECT kept.customer_id AS id
FROM kept JOIN customer USING (customer_id)
WHERE (kept.at <= erased_at OR (erased_at IS NOT NULL AND seen_at IS NULL))
  AND NOT EXISTS (
      SELECT FROM erasure WHERE erasure.customer_id = customer.customer_id AND look_at IS NOT NULL -- not finished
  )
LIMIT $1
"""

HANGING_SQL = """
SELECT id::text AS id
FROM message
WHERE state IN ('held', 'queued')
  AND (due_at < $2
       OR due_at - CASE WHEN reason = 'quiet_hours' THEN $7::interval ELSE interval '0' END > $3
       OR greatest(occurred_at + $4, created_at)
          + CASE WHEN reason = 'quiet_hours' THEN $7::interval ELSE interval '0' END < $5
       OR (reason = 'no_profile' AND created_at < $6))
LIMIT $1
"""


def queries(now: datetime) -> tuple[Query, ...]:
    """The checks of all rows, as of an instant."""
    soonest, latest = now - OVERDUE, now + LONGEST_RETRY + OVERDUE
    # A mail that is too old, or held too long, is skipped the next time it is claimed.
    longest_kept, longest_held = now - LONGEST_RETRY - _LOST, now - PATIENCE - _LOST
    return (
        Query("each event is at most one message of a step on a channel", EVENTS_SQL),
        Query("states are valid", STATES_SQL, (list(_HELD), list(_SKIPPED), list(_FAILED), list(_NOT_SHOWN))),
        Query("no old event was mailed", OLD_SQL, (OLDEST,)),
        Query("messages have their customer, and tried mails a profile", TRIED_SQL),
        Query("nothing is left of erased customers", ERASED_SQL),
        Query("no preference, consent, browser or address is left of erased customers", KEPT_SQL),
        Query("consents in force are those of the ledger", CONSENTS_SQL),
        Query("no mail hangs", HANGING_SQL, (soonest, latest, OLDEST, longest_kept, longest_held, _QUIET)),
    )


@dataclass(frozen=True, slots=True)
class Content:
    """The input for rendering a message, with the customer's current profile."""

    id: UUID
    channel: Channel
    trigger: str
    template: str
    template_version: int
    locale: str
    facts: Mapping[str, Any]
    profile: Profile


SAMPLE_SQL = """
SELECT id
FROM message TABLESAMPLE SYSTEM (least(100, 100.0 * $1 / greatest(1, (SELECT count(*) FROM message))))
WHERE facts IS NOT NULL AND template IS NOT NULL AND state IN ('held', 'queued', 'sent')
LIMIT $1
"""


async def sample(connection: Connection, count: int) -> list[UUID]:
    """The ids of about `count` messages, or of all if there are fewer; those of earlier releases have other texts."""
    return [row["id"] for row in await connection.fetch(SAMPLE_SQL, count)]


CONTENTS_SQL = """
SELECT id, channel, trigger, template, template_version, locale, facts, customer_id, details, seen_at, registered_at,
       erased_at, consents
FROM message JOIN customer USING (customer_id)
WHERE id = ANY($1::uuid[])
"""


async def load(connection: Connection, ids: Sequence[UUID]) -> list[Content]:
    """The input for rendering these messages."""
    rows: Sequence[Any] = await connection.fetch(CONTENTS_SQL, ids)
    return [
        Content(
            row["id"],
            Channel(row["channel"]),
            row["trigger"],
            row["template"],
            row["template_version"],
            row["locale"],
            row["facts"],
            to_profile(row),
        )
        for row in rows
    ]
