"""Consistency checks of the database: each statement selects violations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from services.notifications.rules.gate import LONGEST_RETRY, OLDEST, PATIENCE
from services.notifications.rules.message import Reason
from services.notifications.rules.notice import Fact, Trigger
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

_SKIPPED: Final = (
    Reason.ERASED,
    Reason.NO_PROFILE,
    Reason.NO_ADDRESS,
    Reason.BAD_ADDRESS,
    Reason.SUPPRESSED,
    Reason.OPTED_OUT,
    Reason.TOPIC_OPTED_OUT,
    Reason.NO_CONSENT,
    Reason.TOO_OLD,
    Reason.FREQUENCY_CAP,
)
_FAILED: Final = (Reason.REJECTED, Reason.GIVEN_UP, Reason.TEMPLATE_ERROR)

NOTICES_SQL = """
SELECT customer_id || '/' || trigger || '/' || occasion AS id
FROM message
GROUP BY customer_id, trigger, occasion
HAVING count(*) FILTER (WHERE channel = 'in_app') <> 1 OR count(*) FILTER (WHERE channel = 'email') <> 1
LIMIT $1
"""

# An event triggers one notice per customer: two messages on a channel mean two notices from one event.
EVENTS_SQL = """
SELECT customer_id || '/' || causation_id AS id
FROM message
GROUP BY customer_id, channel, trigger, causation_id
HAVING count(*) > 1
LIMIT $1
"""

STATES_SQL = """
SELECT id::text AS id
FROM message
WHERE NOT coalesce(trigger = ANY($2::text[]) AND (due_at IS NOT NULL) = (state IN ('held', 'queued')) AND CASE channel
    WHEN 'in_app' THEN attempts = 0 AND title <> '' AND body <> '' AND CASE state
        WHEN 'sent' THEN reason IS NULL
        WHEN 'skipped' THEN reason = 'topic_opted_out' AND read_at IS NULL
    END
    WHEN 'email' THEN json_typeof(facts) = 'object' AND read_at IS NULL AND CASE state
        WHEN 'held' THEN reason IN ('no_profile', 'quiet_hours')
        WHEN 'queued' THEN reason IS NULL
        WHEN 'sent' THEN reason IS NULL AND attempts > 0
        WHEN 'skipped' THEN reason = ANY($3::text[])
        WHEN 'failed' THEN reason = ANY($4::text[]) AND attempts > 0
    END
END, false)
LIMIT $1
"""

OLD_SQL = """
SELECT id::text AS id
FROM message
WHERE channel = 'email' AND created_at - occurred_at > $2::interval AND state <> 'skipped'
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
        Query("each notice is one message on each channel", NOTICES_SQL),
        Query("each event is at most one message on a channel", EVENTS_SQL),
        Query("states are valid", STATES_SQL, (list(Trigger), list(_SKIPPED), list(_FAILED))),
        Query("no old event was mailed", OLD_SQL, (OLDEST,)),
        Query("messages have their customer, and tried mails a profile", TRIED_SQL),
        Query("nothing is left of erased customers", ERASED_SQL),
        Query("no preference, consent, browser or address is left of erased customers", KEPT_SQL),
        Query("consents in force are those of the ledger", CONSENTS_SQL),
        Query("no mail hangs", HANGING_SQL, (soonest, latest, OLDEST, longest_kept, longest_held, _QUIET)),
    )


@dataclass(frozen=True, slots=True)
class Content:
    """The input for rendering a mail, with the customer's current profile."""

    id: UUID
    trigger: Trigger
    facts: Mapping[str, Fact]
    profile: Profile


# Half of the messages are mails.
SAMPLE_SQL = """
SELECT id
FROM message TABLESAMPLE SYSTEM (least(100, 200.0 * $1 / greatest(1, (SELECT count(*) FROM message))))
WHERE channel = 'email' AND trigger = ANY($2::text[]) AND json_typeof(facts) = 'object'
  AND (template_version = $3 OR state IN ('held', 'queued'))
LIMIT $1
"""


async def sample(connection: Connection, count: int, template_version: int) -> list[UUID]:
    """The ids of about `count` mails of this template version, or of all if there are fewer."""
    return [row["id"] for row in await connection.fetch(SAMPLE_SQL, count, list(Trigger), template_version)]


CONTENTS_SQL = """
SELECT id, trigger, facts, customer_id, details, seen_at, registered_at, erased_at, consents
FROM message JOIN customer USING (customer_id)
WHERE id = ANY($1::uuid[])
"""


async def load(connection: Connection, ids: Sequence[UUID]) -> list[Content]:
    """The input for rendering these mails."""
    rows: Sequence[Any] = await connection.fetch(CONTENTS_SQL, ids)
    return [Content(row["id"], Trigger(row["trigger"]), row["facts"], to_profile(row)) for row in rows]
