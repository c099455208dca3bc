"""Decides by journeys what the events of a batch lead to."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.notifications.handlers import experimenting
from services.notifications.handlers.desk import Desk
from services.notifications.handlers.moving import Mover
from services.notifications.handlers.people import person, plain, standing
from services.notifications.handlers.taking import Taken, Triggered, take
from services.notifications.rules import profile
from services.notifications.rules import standing as standing_rules
from services.notifications.rules.journey.live import InForce
from services.notifications.rules.journey.timing import dates
from services.notifications.rules.profile import Profile
from services.notifications.rules.trigger import Request, triggers
from services.notifications.store import standings, timers
from services.notifications.store.standings import Learned, Row
from shared.contracts.envelope import Cause, Event
from shared.postgres.pool import Connection

_NOBODY = Row()


@dataclass(frozen=True, slots=True)
class Batch:
    """Events that are handled together: what they offer to journeys, and the locked profiles before and after them.

    `goals` are the event types that are the goal of an experiment.
    """

    events: Sequence[Event]
    triggered: Sequence[Triggered]
    goals: Collection[str]
    before: Mapping[str, Profile]
    after: Mapping[str, Profile]
    now: datetime

    def counts(self, customer_id: str, at: datetime) -> bool:
        """Whether something counts that happened then: after an erasure nothing does until they register again."""
        own = self.after.get(customer_id)
        return own is not None and not own.is_erased and profile.is_after_erasure(own, at)


def triggered_by(in_force: InForce, goals: Collection[str], events: Iterable[Event]) -> list[Triggered]:
    """What events offer to the customers whom they concern; events that nothing names are left out.

    `goals` are the event types that are the goal of an experiment.
    """
    return [
        Triggered(trigger, event.data)
        for event in events
        if event.type in in_force.relevant or event.type in goals
        for trigger in triggers(event, wanted=event.type in in_force.by_type)
    ]


async def decide(connection: Connection, desk: Desk, batch: Batch) -> list[Request]:
    """Move the runs of locked customers by a batch of events; returns the messages to make, in the order of the log."""
    in_force = await desk.journeys.at(connection, batch.now)
    known = [each for each in batch.triggered if batch.counts(each.trigger.customer_id, each.trigger.at)]
    told = standing_rules.told(event for event in batch.events if batch.counts(event.customer_id, event.time))
    await standings.learn(connection, [Learned(id_, *found) for id_, found in told.items()])
    taken = await take(connection, in_force, known)
    await experimenting.convert(connection, batch.goals, batch.events, batch.counts, in_force.recorded)
    if in_force.dates:
        await _set_dates(connection, desk, in_force, batch, taken)
    people = plain(batch.after.values(), desk.zone)
    for id_, row in (await standings.load(connection, _asked_about(in_force, taken, batch))).items():
        people[id_] = standing(batch.after[id_], row, desk.zone)
    outcome = await Mover(in_force, desk.arms, batch.now).move(connection, people, taken.incoming)
    return outcome.requests


async def _set_dates(connection: Connection, desk: Desk, in_force: InForce, batch: Batch, taken: Taken) -> None:
    """Set the timers of dates of customers whose profile or first purchase changed."""
    changed = {id_ for id_, total in taken.totals.items() if total.is_first}
    changed |= {id_ for id_, own in batch.after.items() if own is not batch.before[id_] and own.is_known}
    rows = await standings.load(connection, changed)
    causes = {event.customer_id: Cause.of(event) for event in batch.events if event.customer_id in changed}
    people = [person(batch.after[id_], rows.get(id_, _NOBODY), desk.zone) for id_ in causes]
    await timers.put(connection, dates(in_force.dates, people, causes, batch.now))


def _asked_about(in_force: InForce, taken: Taken, batch: Batch) -> set[str]:
    """The customers whose tier or points a journey may ask for."""
    if in_force.looks_later:
        return set(batch.after)
    return {
        id_ for id_, own in taken.incoming.items() if any(live.journey.looks for each in own for live in each.lives)
    }
