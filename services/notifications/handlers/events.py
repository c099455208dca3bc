"""Handles events: learns profiles, and makes the messages that the events trigger."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from services.notifications.handlers import announcing
from services.notifications.handlers.making import FIRST_STEP, Maker, make
from services.notifications.rules import notice, profile
from services.notifications.rules.message import Channel
from services.notifications.rules.profile import Profile
from services.notifications.rules.trigger import Request, TriggerEvent
from services.notifications.store import customers, erasing, messages
from shared.contracts.envelope import Event
from shared.contracts.outcomes import Refusal
from shared.messaging import erasure
from shared.postgres.pool import Connection

_TYPES: Final = notice.TYPES | profile.TYPES
"""The types that change profiles or make messages; the others are only told to endpoints of webhooks."""


async def handle(maker: Maker, connection: Connection, events: Sequence[Event], now: datetime) -> list[Refusal]:
    """Update profiles and make the messages that the events trigger; no event is refused.

    Profiles come first, so that all messages of the batch use the profiles after it.
    """
    own = [event for event in events if event.type in _TYPES]
    wanted = [request for event in own for request in requests(event)]
    touched = {event.customer_id for event in own} | {request.trigger.customer_id for request in wanted}
    before = await customers.lock(connection, touched)
    after = _learn(before, own)
    await _store(connection, before, after, now)
    publications = await make(connection, maker, wanted, after, now)
    await announcing.announce(connection, publications, events)
    await erasure.apply(connection, events, erasing.erase, now)
    return []


def requests(event: Event) -> Iterator[Request]:
    """The messages that an event asks for."""
    for found in notice.notices(event):
        trigger = TriggerEvent(event.type, found.customer_id, found.key, found.facts, found.occurred_at, found.cause)
        name = found.trigger.value
        yield Request(trigger, name, None, FIRST_STEP, name, (Channel.IN_APP, Channel.EMAIL), "all", None)


def _learn(before: Mapping[str, Profile], events: Iterable[Event]) -> dict[str, Profile]:
    after = dict(before)
    for event in events:
        after[event.customer_id] = profile.learn(after[event.customer_id], event)
    return after


async def _store(
    connection: Connection, before: Mapping[str, Profile], after: Mapping[str, Profile], now: datetime
) -> None:
    """Store the profiles that changed, and release the messages that waited for a profile."""
    changed = [current for current in after.values() if current is not before[current.customer_id]]
    await customers.save(connection, changed)
    new = [current.customer_id for current in changed if current.is_known and not before[current.customer_id].is_known]
    await messages.release(connection, new, now)
