"""Creates messages from events, and announces them."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import uuid_utils

from services.notifications.handlers import announcing
from services.notifications.rendering import TEMPLATE_VERSION, Reader, Templates, choose_language
from services.notifications.rules import gate, notice, profile
from services.notifications.rules.gate import Hold, Send, Skip
from services.notifications.rules.notice import Channel, Notice
from services.notifications.rules.profile import Profile
from services.notifications.store import customers, messages
from services.notifications.store.messages import Message, State
from shared import telemetry
from shared.contracts.envelope import Event, Publication
from shared.contracts.loyalty import MessageChanged
from shared.contracts.outcomes import Refusal
from shared.messaging import erasure, outbox
from shared.postgres.pool import Connection


async def handle(templates: Templates, connection: Connection, events: Sequence[Event], now: datetime) -> list[Refusal]:
    """Update profiles and create the messages that the events trigger; no event is refused.

    Profiles come first, so that all messages of the batch use the profiles after it.
    """
    triggered = [triggered for event in events for triggered in notice.notices(event)]
    touched = {event.customer_id for event in events} | {each.customer_id for each in triggered}
    before = await customers.lock(connection, touched)
    after = _learn(before, events)
    await _store(connection, before, after, now)
    new = [message for each in triggered for message in _messages(templates, each, after[each.customer_id], now)]
    added = await messages.add(connection, new, now)
    telemetry.DUPLICATES.labels("natural_key").inc(len(new) - len(added))
    published = [message for message in new if message.id in added and message.state in announcing.TYPES]
    await outbox.announce(connection, [_of_message(message) for message in published])
    await erasure.apply(connection, events, messages.erase, now)
    return []


def _learn(before: Mapping[str, Profile], events: Iterable[Event]) -> dict[str, Profile]:
    after = dict(before)
    for event in events:
        after[event.customer_id] = profile.learn(after[event.customer_id], event)
    return after


async def _store(
    connection: Connection, before: Mapping[str, Profile], after: Mapping[str, Profile], now: datetime
) -> None:
    """Store the profiles that changed, and release the mails that waited for a profile."""
    changed = [current for current in after.values() if current is not before[current.customer_id]]
    await customers.save(connection, changed)
    new = [current.customer_id for current in changed if current.is_known and not before[current.customer_id].is_known]
    await messages.release(connection, new, now)


def _messages(templates: Templates, triggered: Notice, reader: Profile, now: datetime) -> Iterable[Message]:
    """The inbox message and the mail of a notice; none if the customer was erased after the event.

    After an erasure there are no messages until the customer registers again.
    """
    if reader.is_erased or not profile.is_after_erasure(reader, triggered.occurred_at):
        return
    text = templates.notification(
        triggered.trigger, triggered.facts, Reader(reader.name, reader.locale, reader.time_zone)
    )
    yield Message(
        id=_new_id(),
        notice=triggered,
        channel=Channel.IN_APP,
        state=State.SENT,
        reason=None,
        locale=text.language,
        template_version=TEMPLATE_VERSION,
        title=text.title,
        body=text.body,
    )
    state, reason, due_at = _first_state(triggered, reader, now)
    yield Message(
        id=_new_id(),
        notice=triggered,
        channel=Channel.EMAIL,
        state=state,
        reason=reason,
        locale=choose_language(reader.locale),
        template_version=TEMPLATE_VERSION,
        due_at=due_at,
    )


def _first_state(triggered: Notice, reader: Profile, now: datetime) -> tuple[State, str | None, datetime | None]:
    match gate.judge(triggered.kind, triggered.occurred_at, now, reader, now):
        case Send():
            return State.QUEUED, None, now
        case Hold(until, reason):
            return State.HELD, reason, until
        case Skip(reason):
            return State.SKIPPED, reason, None


def _new_id() -> UUID:
    return UUID(int=uuid_utils.uuid7().int)


def _of_message(message: Message) -> Publication:
    triggered = message.notice
    data = MessageChanged(
        customer_id=triggered.customer_id,
        message_id=str(message.id),
        trigger=triggered.trigger,
        template=triggered.trigger,
        template_version=message.template_version,
        locale=message.locale,
        channel=message.channel,
        reason=message.reason,
    )
    return announcing.publish(message.state, triggered.occurred_at, data, triggered.cause)
