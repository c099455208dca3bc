"""Handles events: learns profiles, and makes the messages that the events trigger."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from services.notifications.handlers import announcing
from services.notifications.handlers.desk import Desk
from services.notifications.handlers.journeying import Batch, decide, triggered_by
from services.notifications.rules import profile, standing
from services.notifications.rules.profile import Profile
from services.notifications.store import customers, erasing, experiments, messages
from shared.contracts.envelope import Event
from shared.contracts.outcomes import Refusal
from shared.messaging import erasure
from shared.postgres.pool import Connection

_TOLD: Final = profile.TYPES | standing.TYPES
"""The event types that tell something of their customer, whether or not a journey names them."""


async def handle(desk: Desk, connection: Connection, events: Sequence[Event], now: datetime) -> list[Refusal]:
    """Update profiles, and make the messages that journeys ask for; no event is refused.

    Profiles come first, so that all messages of the batch use the profiles after it.
    """
    goals = await experiments.goals(connection)
    triggered = triggered_by(await desk.journeys.at(connection, now), goals, events)
    touched = {event.customer_id for event in events if event.type in _TOLD}
    touched |= {each.trigger.customer_id for each in triggered}
    before = await customers.lock(connection, touched)
    after = _learn(before, events)
    await _store(connection, before, after, now)
    requests = await decide(connection, desk, Batch(events, triggered, goals, before, after, now))
    publications = await desk.make(connection, requests, after, now)
    await announcing.announce(connection, publications, events)
    await erasure.apply(connection, events, erasing.erase, now)
    return []


def _learn(before: Mapping[str, Profile], events: Iterable[Event]) -> dict[str, Profile]:
    after = dict(before)
    for event in events:
        if event.type in profile.TYPES:
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
