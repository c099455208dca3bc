"""Messages to customers: a row per send step and channel."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from services.notifications.rules.message import Channel, Kind, Reason, State, Topic
from services.notifications.rules.trigger import Request
from shared.messaging import erasure
from shared.messaging.erasure import Erasure
from shared.postgres.pool import Connection, Pool


class Message(NamedTuple):
    """A new message. `facts` are JSON.

    `occasion` names it among the customer's messages of the journey. `unsent` are other channels of its step that were
    too late already, with the reason. `due_at` is when a held or queued message is claimed next.
    """

    id: UUID
    request: Request
    occasion: str
    channel: Channel
    kind: Kind
    topic: Topic
    template_version: int
    locale: str
    state: State
    reason: Reason | None
    facts: str
    due_at: datetime | None = None
    unsent: Mapping[str, str] | None = None


class InboxMessage(NamedTuple):
    """A message of the inbox; `number` is the order of creation.

    Messages of earlier releases have `title` and `body`; others are rendered from their facts.
    """

    number: int
    id: UUID
    customer_id: str
    trigger: str
    template: str
    template_version: int
    locale: str
    facts: Mapping[str, Any] | None
    title: str | None
    body: str | None
    created_at: datetime
    read_at: datetime | None


ADD_SQL = """
INSERT INTO message (id, customer_id, channel, kind, topic, trigger, occasion, template, template_version, run_id, step,
                     state, reason, locale, facts, unsent, occurred_at, created_at, due_at, sent_at, correlation_id,
                     causation_id, traceparent)
SELECT id, customer_id, channel, kind, topic, trigger, occasion, template, template_version, run_id, step,
       state, reason, locale, facts::json, unsent, occurred_at, $1::timestamptz, due_at,
       CASE state WHEN 'sent' THEN $1::timestamptz END,
       correlation_id, causation_id, traceparent
FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::int[],
            $11::uuid[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::json[],
            $18::timestamptz[], $19::timestamptz[], $20::text[], $21::text[], $22::text[])
     WITH ORDINALITY AS new (id, customer_id, channel, kind, topic, trigger, occasion, template, template_version,
                             run_id, step, state, reason, locale, facts, unsent, occurred_at, due_at, correlation_id,
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
    return {row[0] for row in await connection.fetch(ADD_SQL, now, *columns)}


def _columns(message: Message) -> tuple[object, ...]:
    request = message.request
    trigger = request.trigger
    cause = trigger.cause
    return (
        message.id,
        trigger.customer_id,
        message.channel,
        message.kind,
        message.topic,
        request.journey,
        message.occasion,
        request.template,
        message.template_version,
        request.run_id,
        request.step,
        message.state,
        message.reason,
        message.locale,
        message.facts,
        message.unsent,
        trigger.at,
        message.due_at,
        cause.correlation_id,
        cause.causation_id,
        cause.traceparent,
    )


RELEASE_SQL = """
UPDATE message SET due_at = least(due_at, $2)
WHERE customer_id = ANY($1::text[]) AND state = 'held' AND reason = 'no_profile'
"""


async def release(connection: Connection, customer_ids: Sequence[str], now: datetime) -> None:
    """Make the messages of customers that waited for a profile due now."""
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
SELECT number, id, customer_id, trigger, coalesce(template, trigger), template_version, locale, facts, title, body,
       created_at, read_at
FROM message
WHERE channel = 'in_app' AND state = 'sent' AND customer_id = $1 AND number < $2 AND (NOT $4 OR read_at IS NULL)
ORDER BY number DESC
LIMIT $3
"""


async def inbox(pool: Pool, customer_id: str, before: int, limit: int, *, unread: bool) -> list[InboxMessage]:
    """A customer's inbox, newest first: up to `limit` messages with numbers below `before`."""
    return [InboxMessage(*row) for row in await pool.fetch(INBOX_SQL, customer_id, before, limit, unread)]


READ_SQL = """
UPDATE message SET read_at = coalesce(read_at, $3)
WHERE id = $1 AND channel = 'in_app' AND state = 'sent' AND ($2::text IS NULL OR customer_id = $2)
RETURNING number, id, customer_id, trigger, coalesce(template, trigger), template_version, locale, facts, title, body,
          created_at, read_at
"""


async def mark_read(
    connection: Connection, message_id: UUID, customer_id: str | None, now: datetime
) -> InboxMessage | None:
    """Mark an inbox message as read and return it; None if there is no such message (of `customer_id`, if given)."""
    row = await connection.fetchrow(READ_SQL, message_id, customer_id, now)
    return None if row is None else InboxMessage(*row)


class FailedMessage(NamedTuple):
    """An inbox message that turned out to have no text."""

    id: UUID
    customer_id: str
    trigger: str
    template: str
    template_version: int
    locale: str
    occurred_at: datetime
    correlation_id: str
    causation_id: str
    traceparent: str | None


FAIL_SQL = """
UPDATE message
SET state = 'failed', reason = 'template_error', log = json_build_array(
    json_build_object('at', created_at, 'state', state), json_build_object('at', $2::timestamptz, 'state', 'failed',
                                                                           'reason', 'template_error'))
WHERE id = ANY($1::uuid[]) AND channel = 'in_app' AND state = 'sent'
RETURNING id, customer_id, trigger, coalesce(template, trigger) AS template, template_version, locale, occurred_at,
          correlation_id, causation_id, traceparent
"""


async def fail(connection: Connection, ids: Sequence[UUID], now: datetime) -> list[FailedMessage]:
    """Record that inbox messages of a locked customer have no text; returns those that changed."""
    return [FailedMessage(*row) for row in await connection.fetch(FAIL_SQL, ids, now)]


READ_ALL_SQL = """
WITH unread AS (
    SELECT id FROM message
    WHERE customer_id = $1 AND channel = 'in_app' AND state = 'sent' AND read_at IS NULL
    ORDER BY number
    LIMIT $3
    FOR UPDATE
)
UPDATE message SET read_at = $2 FROM unread WHERE message.id = unread.id
RETURNING message.id
"""


async def mark_all_read(connection: Connection, customer_id: str, now: datetime, most: int) -> int:
    """Mark up to `most` inbox messages of a customer as read, oldest first; returns how many changed."""
    return len(await connection.fetch(READ_ALL_SQL, customer_id, now, most))
