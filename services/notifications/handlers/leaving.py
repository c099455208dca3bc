"""What the links in a message let its holder do: unsubscribe, and choose what to get."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from services.notifications.handlers import choosing, marking
from services.notifications.handlers.marking import Marking
from services.notifications.rules import consent
from services.notifications.rules import preferences as rules
from services.notifications.rules.consent import Action, Consents, Entry, How
from services.notifications.rules.mark import Mark
from services.notifications.rules.message import Channel, Kind
from services.notifications.rules.preferences import SWITCHED, Choice, Preferences
from services.notifications.rules.profile import Profile
from services.notifications.store import customers, preferences
from services.notifications.store import marks as stored
from services.notifications.store.marks import Sent
from shared.postgres.pool import Connection


class What(StrEnum):
    """What the recipient of a message leaves, on the channel of the message."""

    TOPIC = "topic"
    """What the message is about."""
    MARKETING = "marketing"
    """All marketing."""
    EVERYTHING = "everything"
    """All but what is about the account itself."""


@dataclass(frozen=True, slots=True)
class Held:
    """Somebody who holds a link of a message, and what its customer chose."""

    message: Sent
    profile: Profile
    preferences: Preferences

    @property
    def locale(self) -> str:
        """The customer's locale."""
        return self.preferences.locale or self.profile.locale or self.message.locale


@dataclass(frozen=True, slots=True)
class Changes:
    """What the customer has after a change."""

    preferences: Preferences
    consents: Consents


async def load(connection: Connection, message_id: UUID) -> Held | None:
    """Who holds a link of a message; None if the message was erased."""
    message = (await stored.find(connection, [message_id])).get(message_id)
    if message is None:
        return None
    profile = await customers.load(connection, message.customer_id)
    return Held(message, profile, await preferences.load(connection, message.customer_id))


async def click(connection: Connection, message_id: UUID, now: datetime) -> Held | None:
    """Unsubscribe by one click (RFC 8058): from marketing where the message is that, else from its topic.

    None if the message was erased.
    """
    held = await _lock(connection, message_id)
    if held is not None:
        what = What.MARKETING if held.message.kind is Kind.MARKETING else What.TOPIC
        await _store(connection, held, _leave(held, what, How.ONE_CLICK, now), How.ONE_CLICK, now)
    return held


async def leave(connection: Connection, message_id: UUID, what: What, now: datetime) -> Held | None:
    """Unsubscribe by the page behind the link of a message; None if the message was erased."""
    held = await _lock(connection, message_id)
    if held is None:
        return None
    changes = _leave(held, what, How.PAGE, now)
    await _store(connection, held, changes, How.PAGE, now)
    return replace(held, preferences=changes.preferences)


async def save(
    connection: Connection, message_id: UUID, on: Iterable[Channel], topics_off: frozenset[Choice], now: datetime
) -> Held | None:
    """Store which channels are on and which topics are off; None if the message was erased."""
    held = await _lock(connection, message_id)
    if held is None:
        return None
    wanted = replace(held.preferences, off=frozenset(SWITCHED) - set(on), topics_off=topics_off)
    lost = (wanted.off | wanted.topics_off) - (held.preferences.off | held.preferences.topics_off)
    changes = Changes(wanted, held.profile.consents)
    if lost:
        await _store(connection, held, changes, How.PAGE, now)
    else:
        await preferences.save(connection, held.message.customer_id, wanted, now)
    return replace(held, preferences=wanted)


async def _lock(connection: Connection, message_id: UUID) -> Held | None:
    found = (await stored.find(connection, [message_id])).get(message_id)
    if found is None:
        return None
    profile = (await customers.lock(connection, [found.customer_id]))[found.customer_id]
    # It may have been erased before the customer was locked.
    return None if profile.is_erased else await load(connection, message_id)


def _leave(held: Held, what: What, how: How, now: datetime) -> Changes:
    channel, wanted, consents = held.message.channel, held.preferences, held.profile.consents
    if what is What.TOPIC:
        return Changes(rules.without_topic(wanted, held.message.topic, channel), consents)
    entry = Entry(channel, Action.WITHDRAWN, how, now, f"message:{held.message.id}", held.locale)
    consents = consent.change(consents, entry) if channel in SWITCHED else consents
    if what is What.EVERYTHING:
        wanted = rules.without_channel(wanted, channel)
    return Changes(wanted, consents)


async def _store(connection: Connection, held: Held, changes: Changes, how: How, now: datetime) -> None:
    if changes.preferences != held.preferences:
        await preferences.save(connection, held.message.customer_id, changes.preferences, now)
    await choosing.save_consents(connection, held.profile, changes.consents)
    await marking.record(connection, [Marking(held.message, Mark.UNSUBSCRIBED, now, how)])
