"""Mails that are due: claimed by one worker for the time of a lease, and their outcomes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from services.notifications.rules.gate import Recipient
from services.notifications.rules.message import Channel, Kind, State, Topic
from services.notifications.rules.profile import Profile
from shared.contracts.envelope import Cause
from shared.postgres.pool import Connection, Pool


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail that is due, and who gets it; once it is claimed, `attempts` includes the current one.

    `state` and `reason` are those that it was found with.
    """

    id: UUID
    channel: Channel
    kind: Kind
    topic: Topic
    trigger: str
    template: str
    facts: Mapping[str, Any]
    occurred_at: datetime
    created_at: datetime
    state: State
    reason: str | None
    attempts: int
    locale: str
    template_version: int
    recipient: Recipient
    cause: Cause

    @property
    def customer_id(self) -> str:
        """Id of the customer."""
        return self.recipient.profile.customer_id

    def claimed(self, recipient: Recipient) -> "Mail":
        """The mail with one attempt more, and all that is known of who gets it."""
        return replace(self, attempts=self.attempts + 1, recipient=recipient)


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


DUE_SQL = """
SELECT id, customer_id FROM message WHERE channel = $3 AND due_at <= $1 ORDER BY due_at, number LIMIT $2
"""


async def find_due(connection: Connection, channel: Channel, now: datetime, limit: int) -> list[tuple[UUID, str]]:
    """Up to `limit` due messages of a channel, oldest first, with their customers; nothing is locked."""
    return [(row["id"], row["customer_id"]) for row in await connection.fetch(DUE_SQL, now, limit, channel)]


LOAD_SQL = """
SELECT id, channel, kind, topic, trigger, coalesce(template, trigger) AS template, facts, occurred_at, created_at,
       state, reason, attempts, locale, template_version, correlation_id, causation_id, traceparent, customer_id
FROM message
WHERE id = ANY($1::uuid[]) AND due_at <= $2
ORDER BY number
"""


async def load_due(
    connection: Connection, ids: Sequence[UUID], profiles: Mapping[str, Profile], now: datetime
) -> list[Mail]:
    """Those of the mails of locked customers that are still due, oldest first."""
    return [
        Mail(
            id=row["id"],
            channel=Channel(row["channel"]),
            kind=Kind(row["kind"]),
            topic=Topic(row["topic"]),
            trigger=row["trigger"],
            template=row["template"],
            facts=row["facts"],
            occurred_at=row["occurred_at"],
            created_at=row["created_at"],
            state=State(row["state"]),
            reason=row["reason"],
            attempts=row["attempts"],
            locale=row["locale"],
            template_version=row["template_version"],
            recipient=Recipient(profiles[row["customer_id"]]),
            cause=Cause(row["correlation_id"], row["causation_id"], row["traceparent"]),
        )
        for row in await connection.fetch(LOAD_SQL, ids, now)
    ]


# What is being sent counts for frequency caps as what was sent.
LEASE_SQL = """
UPDATE message SET due_at = $3, sent_at = $2, attempts = attempts + 1 WHERE id = ANY($1::uuid[])
"""


async def lease(connection: Connection, ids: Sequence[UUID], now: datetime, until: datetime) -> None:
    """Keep mails of locked customers from other workers, and count an attempt."""
    if ids:
        await connection.execute(LEASE_SQL, ids, now, until)


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
    template_version = new.template_version,
    sent_at = CASE WHEN new.state = 'sent' THEN message.sent_at END,
    log = CASE WHEN (message.state, message.reason) IS NOT DISTINCT FROM (new.state, new.reason) THEN message.log ELSE (
        coalesce(message.log::jsonb, jsonb_build_array(jsonb_strip_nulls(jsonb_build_object(
            'at', message.created_at, 'state', message.state, 'reason', message.reason))))
        || jsonb_strip_nulls(jsonb_build_object('at', clock_timestamp(), 'state', new.state, 'reason', new.reason))
    )::json END
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
