"""Creates messages from events, and announces them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import uuid_utils

from services.notifications.handlers import announcing
from services.notifications.handlers.judging import Judge
from services.notifications.rendering import TEMPLATE_VERSION, Reader, Templates, choose_language
from services.notifications.rules import gate, notice, profile
from services.notifications.rules import message as words
from services.notifications.rules.gate import Candidate, Hold, Recipient, Send, Skip, Verdict
from services.notifications.rules.message import Kind
from services.notifications.rules.notice import Channel, Notice
from services.notifications.rules.profile import Profile
from services.notifications.store import customers, erasing, messages
from services.notifications.store.messages import Message, State
from shared import telemetry
from shared.contracts.envelope import Event, Publication
from shared.contracts.loyalty import MessageChanged
from shared.contracts.outcomes import Refusal
from shared.messaging import erasure
from shared.postgres.pool import Connection

_CHANNELS: Final = (Channel.IN_APP, Channel.EMAIL)
_TYPES: Final = notice.TYPES | profile.TYPES
"""The types that change profiles or make messages; the others are only told to endpoints of webhooks."""


@dataclass(frozen=True, slots=True)
class Maker:
    """What messages are made with: the templates, and the gate."""

    templates: Templates
    judge: Judge


async def handle(maker: Maker, connection: Connection, events: Sequence[Event], now: datetime) -> list[Refusal]:
    """Update profiles and create the messages that the events trigger; no event is refused.

    Profiles come first, so that all messages of the batch use the profiles after it.
    """
    own = [event for event in events if event.type in _TYPES]
    triggered = [triggered for event in own for triggered in notice.notices(event)]
    touched = {event.customer_id for event in own} | {each.customer_id for each in triggered}
    before = await customers.lock(connection, touched)
    after = _learn(before, own)
    await _store(connection, before, after, now)
    new = await _make(maker, connection, triggered, after, now)
    added = await messages.add(connection, new, now)
    telemetry.DUPLICATES.labels("natural_key").inc(len(new) - len(added))
    published = [message for message in new if message.id in added and message.state in announcing.TYPES]
    await announcing.announce(connection, [_of_message(message) for message in published], events)
    await erasure.apply(connection, events, erasing.erase, now)
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


async def _make(
    maker: Maker, connection: Connection, triggered: Iterable[Notice], profiles: Mapping[str, Profile], now: datetime
) -> list[Message]:
    """The inbox message and the mail of each notice; none if the customer was erased after the event.

    After an erasure there are no messages until the customer registers again.
    """
    wanted = [each for each in triggered if _is_wanted(each, profiles[each.customer_id])]
    asked = [(each.customer_id, _candidate(each, channel, now)) for each in wanted for channel in _CHANNELS]
    known = await maker.judge.recipients(connection, profiles, asked, now)
    return [_message(maker, each, channel, known[each.customer_id], now) for each in wanted for channel in _CHANNELS]


def _is_wanted(triggered: Notice, reader: Profile) -> bool:
    return not reader.is_erased and profile.is_after_erasure(reader, triggered.occurred_at)


def _candidate(triggered: Notice, channel: Channel, now: datetime) -> Candidate:
    kind, topic = Kind(triggered.kind), notice.TOPICS[triggered.trigger]
    return Candidate(kind, topic, words.Channel(channel), triggered.occurred_at, now)


def _message(maker: Maker, triggered: Notice, channel: Channel, reader: Recipient, now: datetime) -> Message:
    """A message on a channel, in the state that the gate gives it; it asks again when a mail is sent."""
    verdict = gate.judge(_candidate(triggered, channel, now), reader, now, maker.judge.limits)
    state, reason, due_at = _first_state(verdict, now)
    if channel is Channel.EMAIL:
        locale = choose_language(reader.locale)
        return Message(_new_id(), triggered, channel, state, reason, locale, TEMPLATE_VERSION, due_at=due_at)
    text = maker.templates.notification(
        triggered.trigger, triggered.facts, Reader(reader.profile.name, reader.locale, reader.time_zone)
    )
    return Message(
        id=_new_id(),
        notice=triggered,
        channel=channel,
        state=State.SENT if state is State.QUEUED else state,
        reason=reason,
        locale=text.language,
        template_version=TEMPLATE_VERSION,
        title=text.title,
        body=text.body,
    )


def _first_state(verdict: Verdict, now: datetime) -> tuple[State, str | None, datetime | None]:
    match verdict:
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
