"""Mails that are due: claimed by one worker for the time of a lease, and their outcomes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from services.notifications.rules.notice import Fact, Kind, Trigger
from services.notifications.rules.profile import Profile
from services.notifications.store.customers import to_profile
from services.notifications.store.messages import State
from shared.contracts.envelope import Cause
from shared.postgres.pool import Connection, Pool


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail that is due, with the customer's current profile; `attempts` includes the current outcome."""

    id: UUID
    kind: Kind
    trigger: Trigger
    facts: Mapping[str, Fact]
    occurred_at: datetime
    created_at: datetime
    attempts: int
    locale: str
    template_version: int
    profile: Profile
    cause: Cause


@dataclass(frozen=True, slots=True)
class Settled:
    """The outcome of an attempt. A mail that is queued or held again is due at `due_at`; `attempts` is stored."""

    mail: Mail
    state: State
    attempts: int
    locale: str
    template_version: int
    reason: str | None = None
    due_at: datetime | None = None


CLAIM_SQL = """
WITH due AS (
    SELECT id FROM message
    WHERE due_at <= $1
    ORDER BY due_at, number
    LIMIT $3
    FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE message SET due_at = $2, attempts = attempts + 1
    FROM due
    WHERE message.id = due.id
    RETURNING message.*
)
SELECT claimed.id, number, kind, trigger, facts, occurred_at, created_at, attempts, locale, template_version,
       correlation_id, causation_id, traceparent, customer_id, details, seen_at, registered_at, erased_at
FROM claimed
JOIN customer USING (customer_id)
ORDER BY number
"""


async def claim(pool: Pool, now: datetime, lease: timedelta, limit: int) -> list[Mail]:
    """Claim up to `limit` due mails, oldest first; no other worker claims them before the lease ends."""
    rows = await pool.fetch(CLAIM_SQL, now, now + lease, limit)
    return [
        Mail(
            id=row["id"],
            kind=Kind(row["kind"]),
            trigger=Trigger(row["trigger"]),
            facts=row["facts"],
            occurred_at=row["occurred_at"],
            created_at=row["created_at"],
            attempts=row["attempts"],
            locale=row["locale"],
            template_version=row["template_version"],
            profile=to_profile(row),
            cause=Cause(row["correlation_id"], row["causation_id"], row["traceparent"]),
        )
        for row in rows
    ]


# Claiming moves a mail on by the lease of ten minutes; a mail that the server put off once is due sooner than that.
COUNT_DUE_SQL = """
SELECT count(*) FROM message
WHERE due_at <= now() OR (due_at > now() + interval '9 minutes' AND attempts = 1 AND state = 'queued')
"""


async def count_due(pool: Pool) -> int:
    """Number of mails that are due now, including those that a worker is sending."""
    count: int = await pool.fetchval(COUNT_DUE_SQL)
    return count


SETTLE_SQL = """
UPDATE message
SET state = new.state, reason = new.reason, due_at = new.due_at, attempts = new.attempts, locale = new.locale,
    template_version = new.template_version
FROM unnest($1::uuid[], $2::int[], $3::text[], $4::text[], $5::timestamptz[], $6::int[], $7::text[], $8::int[])
     AS new (id, claimed, state, reason, due_at, attempts, locale, template_version)
WHERE message.id = new.id
  AND message.due_at IS NOT NULL
  AND (message.attempts = new.claimed OR new.state = 'sent')
RETURNING message.id
"""


async def settle(connection: Connection, outcomes: Sequence[Settled]) -> set[UUID]:
    """Record the outcomes of mails whose customers are locked; returns the ids of the mails that changed.

    A mail does not change if it was erased meanwhile, or if the lease ran out and another worker claimed it; in the
    latter case a success still counts.
    """
    if not outcomes:
        return set()
    rows = await connection.fetch(
        SETTLE_SQL,
        [outcome.mail.id for outcome in outcomes],
        [outcome.mail.attempts for outcome in outcomes],
        [outcome.state for outcome in outcomes],
        [outcome.reason for outcome in outcomes],
        [outcome.due_at for outcome in outcomes],
        [outcome.attempts for outcome in outcomes],
        [outcome.locale for outcome in outcomes],
        [outcome.template_version for outcome in outcomes],
    )
    return {row["id"] for row in rows}
