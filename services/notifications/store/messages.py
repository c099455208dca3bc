"""Messages to customers: a row per notice and channel."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from services.notifications.rules.notice import Channel, Fact, Notice
from shared.messaging import erasure
from shared.messaging.erasure import Erasure
from shared.postgres.pool import Connection, Pool


class State(StrEnum):
    """The state of a message."""

    HELD = "held"
    """It waits, for the customer's profile or for the end of quiet hours."""
    QUEUED = "queued"
    SENT = "sent"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Message:
    """A new message. An inbox message has `title` and `body`; a mail is rendered when it is sent.

    `due_at` is when a held or queued mail is claimed next.
    """

    id: UUID
    notice: Notice
    channel: Channel
    state: State
    reason: str | None
    locale: str
    template_version: int
    title: str | None = None
    body: str | None = None
    due_at: datetime | None = None

    @property
    def facts(self) -> Mapping[str, Fact] | None:
        """The facts for rendering a mail; an inbox message is rendered already."""
        return self.notice.facts if self.channel is Channel.EMAIL else None


@dataclass(frozen=True, slots=True)
class InboxMessage:
    """A message of the inbox; `number` is the order of creation."""

    number: int
    id: UUID
    customer_id: str
    trigger: str
    title: str
    body: str
    locale: str
    created_at: datetime
    read_at: datetime | None


ADD_SQL = """
INSERT INTO message (id, customer_id, channel, kind, trigger, occasion, state, reason, locale, template_version,
                     title, body, facts, occurred_at, created_at, due_at, correlation_id, causation_id, traceparent)
SELECT id, customer_id, channel, kind, trigger, occasion, state, reason, locale, template_version,
       title, body, facts, occurred_at, $1, due_at, correlation_id, causation_id, traceparent
FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[],
            $11::int[], $12::text[], $13::text[], $14::json[], $15::timestamptz[], $16::timestamptz[], $17::text[],
            $18::text[], $19::text[])
     WITH ORDINALITY AS new (id, customer_id, channel, kind, trigger, occasion, state, reason, locale,
                             template_version, title, body, facts, occurred_at, due_at, correlation_id,
                             causation_id, traceparent, place)
ORDER BY place
ON CONFLICT ON CONSTRAINT message_once DO NOTHING
RETURNING id
"""


async def add(connection: Connection, messages: Sequence[Message], now: datetime) -> set[UUID]:
    """Store messages to locked customers; returns the ids of those that are not duplicates."""
    if not messages:
        return set()
    columns = zip(*(_columns(message) for message in messages), strict=True)
    return {row["id"] for row in await connection.fetch(ADD_SQL, now, *columns)}


def _columns(message: Message) -> tuple[object, ...]:
    notice = message.notice
    return (
        message.id,
        notice.customer_id,
        message.channel,
        notice.kind,
        notice.trigger,
        notice.key,
        message.state,
        message.reason,
        message.locale,
        message.template_version,
        message.title,
        message.body,
        message.facts,
        notice.occurred_at,
        message.due_at,
        notice.cause.correlation_id,
        notice.cause.causation_id,
        notice.cause.traceparent,
    )


RELEASE_SQL = """
UPDATE message SET due_at = least(due_at, $2)
WHERE customer_id = ANY($1::text[]) AND channel = 'email' AND state = 'held'
"""


async def release(connection: Connection, customer_ids: Sequence[str], now: datetime) -> None:
    """Make the held mails of customers due now."""
    if customer_ids:
        await connection.execute(RELEASE_SQL, customer_ids, now)


# A customer without a new registration gets no messages, so later ones are removed too.
ERASE_SQL = """
WITH covered AS (
    SELECT message.id
    FROM message
    JOIN unnest($1::text[], $2::timestamptz[]) AS erased (customer_id, at) USING (customer_id)
    JOIN customer USING (customer_id)
    WHERE occurred_at <= erased.at OR seen_at IS NULL
    LIMIT $3
    FOR UPDATE OF message SKIP LOCKED
)
DELETE FROM message USING covered WHERE message.id = covered.id
RETURNING message.id
"""


async def erase(connection: Connection, erasures: Sequence[Erasure], most: int) -> int:
    """Remove messages of erased customers: those about events before the erasure, or all; see `erasure.EraseOwn`."""
    customers, erased_at, _, _ = erasure.columns(erasures)
    return len(await connection.fetch(ERASE_SQL, customers, erased_at, most))


INBOX_SQL = """
SELECT number, id, customer_id, trigger, title, body, locale, created_at, read_at
FROM message
WHERE channel = 'in_app' AND customer_id = $1 AND number < $2 AND state = 'sent'
ORDER BY number DESC
LIMIT $3
"""


async def inbox(pool: Pool, customer_id: str, before: int, limit: int) -> list[InboxMessage]:
    """A customer's inbox, newest first: up to `limit` messages with numbers below `before`."""
    return [InboxMessage(**row) for row in await pool.fetch(INBOX_SQL, customer_id, before, limit)]


READ_SQL = """
UPDATE message SET read_at = coalesce(read_at, $3)
WHERE id = $1 AND channel = 'in_app' AND state = 'sent' AND ($2::text IS NULL OR customer_id = $2)
RETURNING number, id, customer_id, trigger, title, body, locale, created_at, read_at
"""


async def mark_read(
    connection: Connection, message_id: UUID, customer_id: str | None, now: datetime
) -> InboxMessage | None:
    """Mark an inbox message as read and return it; None if there is no such message (of `customer_id`, if given)."""
    row = await connection.fetchrow(READ_SQL, message_id, customer_id, now)
    return None if row is None else InboxMessage(**row)
