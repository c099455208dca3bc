"""From events to messages, from mails sent to what is told about it, and how what is stored is verified."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Final
from uuid import UUID

import uuid_utils

from services.notifications.rendering import TEMPLATE_VERSION, Reader, Templates, choose_language
from services.notifications.rules import gate, notice, profile
from services.notifications.rules.gate import Hold, Send, Skip
from services.notifications.rules.notice import Channel, Notice
from services.notifications.rules.profile import Profile
from services.notifications.store import auditing, customers, mails, messages
from services.notifications.store.auditing import Content
from services.notifications.store.mails import Settled
from services.notifications.store.messages import Message, State
from shared import telemetry
from shared.contracts.envelope import Cause, Event, Publication, publication
from shared.contracts.loyalty import MessageChanged
from shared.contracts.outcomes import Refusal
from shared.messaging import erasure, outbox
from shared.postgres import checks
from shared.postgres.checks import Check
from shared.postgres.pool import Connection, Pool

_SOURCE: Final = "/wafa/notifications"
_TYPES: Final = {
    State.HELD: "loyalty.message.held.v1",
    State.SENT: "loyalty.message.sent.v1",
    State.SKIPPED: "loyalty.message.skipped.v1",
    State.FAILED: "loyalty.message.failed.v1",
}


async def handle(templates: Templates, connection: Connection, events: Sequence[Event], now: datetime) -> list[Refusal]:
    """Learn of customers and tell them what happened; no event is refused.

    Profiles come first: what a batch says of a customer holds for all the messages of the batch.
    """
    told = [one for event in events for one in notice.notices(event)]
    touched = {event.customer_id for event in events} | {one.customer_id for one in told}
    before = await customers.lock(connection, touched)
    after = _learn(before, events)
    await _store(connection, before, after, now)
    new = [message for one in told for message in _messages(templates, one, after[one.customer_id], now)]
    added = await messages.add(connection, new, now)
    telemetry.DUPLICATES.labels("natural_key").inc(len(new) - len(added))
    await outbox.announce(connection, [_of_message(one) for one in new if one.id in added and one.state in _TYPES])
    await erasure.apply(connection, events, messages.erase, now)
    return []


async def settle(connection: Connection, outcomes: Sequence[Settled]) -> None:
    """Record what became of mails, and announce what is final of it."""
    known = await customers.lock(connection, {one.mail.profile.customer_id for one in outcomes})
    assert all(one.mail.profile.customer_id in known for one in outcomes), "every customer is locked"
    news = await mails.settle(connection, outcomes)
    final = [one for one in outcomes if one.mail.id in news and one.due_at is None]
    await outbox.announce(connection, [_of_outcome(one) for one in final])


async def verify(templates: Templates, pool: Pool, sample: int, now: datetime) -> AsyncIterator[Check]:
    """Check what is stored as of `now`, from one snapshot; `sample` mails are rendered anew."""
    async with checks.snapshot(pool) as connection:
        async for check in checks.ask(connection, auditing.queries(now)):
            yield check
        chosen = await auditing.sample(connection, sample, TEMPLATE_VERSION)
        yield await checks.judge("mails can be rendered", chosen, partial(_not_rendered, connection, templates))


async def _not_rendered(connection: Connection, templates: Templates, ids: Sequence[UUID]) -> list[str]:
    return [str(one.id) for one in await auditing.load(connection, ids) if not _renders(templates, one)]


def _renders(templates: Templates, content: Content) -> bool:
    reader = Reader(content.profile.name, content.profile.locale, content.profile.time_zone)
    try:
        templates.mail(content.trigger, content.facts, reader)
    except Exception:  # noqa: BLE001 whatever it is that fails, the mail cannot be made
        return False
    return True


def _learn(before: Mapping[str, Profile], events: Iterable[Event]) -> dict[str, Profile]:
    after = dict(before)
    for event in events:
        after[event.customer_id] = profile.learn(after[event.customer_id], event)
    return after


async def _store(
    connection: Connection, before: Mapping[str, Profile], after: Mapping[str, Profile], now: datetime
) -> None:
    """Store the profiles that changed; mails that waited for them need not wait any longer."""
    changed = [one for one in after.values() if one is not before[one.customer_id]]
    await customers.save(connection, changed)
    met = [one.customer_id for one in changed if one.is_known and not before[one.customer_id].is_known]
    await messages.release(connection, met, now)


def _messages(templates: Templates, told: Notice, reader: Profile, now: datetime) -> Iterable[Message]:
    """What a notice puts into the inbox and into the mail; nothing where an erasure covers it.

    After an erasure, nothing is made until the customer registers again.
    """
    if reader.is_erased or not profile.is_after_erasure(reader, told.occurred_at):
        return
    text = templates.notification(told.trigger, told.facts, Reader(reader.name, reader.locale, reader.time_zone))
    yield Message(
        id=_new_id(),
        notice=told,
        channel=Channel.IN_APP,
        state=State.SENT,
        reason=None,
        locale=text.language,
        template_version=TEMPLATE_VERSION,
        title=text.title,
        body=text.body,
    )
    state, reason, due_at = _first_state(told, reader, now)
    yield Message(
        id=_new_id(),
        notice=told,
        channel=Channel.EMAIL,
        state=state,
        reason=reason,
        locale=choose_language(reader.locale),
        template_version=TEMPLATE_VERSION,
        due_at=due_at,
    )


def _first_state(told: Notice, reader: Profile, now: datetime) -> tuple[State, str | None, datetime | None]:
    match gate.judge(told.kind, told.occurred_at, now, reader, now):
        case Send():
            return State.QUEUED, None, now
        case Hold(until, reason):
            return State.HELD, reason, until
        case Skip(reason):
            return State.SKIPPED, reason, None


def _new_id() -> UUID:
    return UUID(int=uuid_utils.uuid7().int)


def _of_message(message: Message) -> Publication:
    told = message.notice
    data = MessageChanged(
        customer_id=told.customer_id,
        message_id=str(message.id),
        trigger=told.trigger,
        template=told.trigger,
        template_version=message.template_version,
        locale=message.locale,
        channel=message.channel,
        reason=message.reason,
    )
    return _publication(message.state, told.occurred_at, data, told.cause)


def _of_outcome(outcome: Settled) -> Publication:
    mail = outcome.mail
    data = MessageChanged(
        customer_id=mail.profile.customer_id,
        message_id=str(mail.id),
        trigger=mail.trigger,
        template=mail.trigger,
        template_version=outcome.template_version,
        locale=outcome.locale,
        channel=Channel.EMAIL,
        reason=outcome.reason,
    )
    return _publication(outcome.state, mail.occurred_at, data, mail.cause)


def _publication(state: State, time: datetime, data: MessageChanged, cause: Cause) -> Publication:
    return publication(_TYPES[state], time, data, cause, _SOURCE)
