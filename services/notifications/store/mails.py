"""Mails that are due: taken by one worker for a while, and what became of them."""

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
    """A mail that is due, with its customer's profile of now; `attempts` counts this one."""

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
    """What became of a mail. Queued or held again it is due at `due_at`; `attempts` is what counts from now on."""

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
    """Take up to `limit` mails that are due; nobody else takes them before the lease ends. Oldest first."""
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
    """Record what became of mails whose customers are locked; returns the ids of those that it was news of.

    It is none where the mail was erased meanwhile, or where the lease ran out and another worker
    has the mail: of that only a success counts.
    """
    if not outcomes:
        return set()
    rows = await connection.fetch(
        SETTLE_SQL,
        [one.mail.id for one in outcomes],
        [one.mail.attempts for one in outcomes],
        [one.state for one in outcomes],
        [one.reason for one in outcomes],
        [one.due_at for one in outcomes],
        [one.attempts for one in outcomes],
        [one.locale for one in outcomes],
        [one.template_version for one in outcomes],
    )
    return {row["id"] for row in rows}
