"""Timers of journeys: dates and inactivity start runs when they come, and a publication sets them for everybody."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from services.notifications.rules.journey.document import DateTrigger, InactivityTrigger
from services.notifications.rules.journey.fields import look_up
from services.notifications.rules.journey.fold import Incoming
from services.notifications.rules.journey.live import InForce
from services.notifications.rules.journey.starting import MADE_UP_WITHIN, Live, Occurrence, inactive, next_date
from services.notifications.rules.trigger import TriggerEvent
from shared.contracts.envelope import Cause


class Timer(NamedTuple):
    """When a journey's date or inactivity comes for a customer; null: not any more. `base` is the last event."""

    customer_id: str
    journey: str
    base: datetime | None
    due_at: datetime | None
    cause: Cause


DATE: Final = "date"
"""The type of a trigger that is no event but a date."""


@dataclass(frozen=True, slots=True)
class Person:
    """The dates of a customer, and the time zone in which they come."""

    customer_id: str
    zone: ZoneInfo
    birth_date: date | None
    registered_at: datetime | None
    first_purchase_at: datetime | None

    def day(self, start: DateTrigger) -> date | datetime | None:
        """The date that a journey goes by."""
        match start.field:
            case "birth_date":
                return self.birth_date
            case "registered_at":
                return self.registered_at
            case "first_purchase_at":
                return self.first_purchase_at


def dates(lives: Sequence[Live], people: Iterable[Person], causes: Mapping[str, Cause], now: datetime) -> list[Timer]:
    """The timers of journeys that go by dates, for customers; the causes are those of the timers."""
    return [
        Timer(person.customer_id, live.id, None, None if found is None else found.at, causes[person.customer_id])
        for person in people
        for live in lives
        for found in [_coming(live, person, now - MADE_UP_WITHIN)]
    ]


def fire(
    in_force: InForce, due: Sequence[Timer], people: Mapping[str, Person], now: datetime
) -> tuple[dict[str, list[Incoming]], list[Timer]]:
    """What timers that are due start, by customer, and the timers after that.

    A timer is only a reminder: what is due is computed from the version in force and from what is known now.
    """
    incoming: dict[str, list[Incoming]] = {}
    after: list[Timer] = []
    for timer in due:
        live = in_force.timed.get(timer.journey)
        if live is None:
            after.append(timer._replace(due_at=None))
            continue
        start = live.journey.document.trigger
        if isinstance(start, InactivityTrigger):
            found, following = _inactivity(start, timer, live, now)
        else:
            found, following = _date(live, people[timer.customer_id], now)
        if found is not None:
            incoming.setdefault(timer.customer_id, []).append(_starts(live, timer, found))
        after.append(timer._replace(due_at=following))
    return incoming, after


def _inactivity(
    start: InactivityTrigger, timer: Timer, live: Live, now: datetime
) -> tuple[Occurrence | None, datetime | None]:
    if timer.base is None:
        return None, None
    found = inactive(start, timer.base)
    if found.at < live.since:
        return None, None
    return (None, found.at) if found.at > now else (found, None)


def _date(live: Live, person: Person, now: datetime) -> tuple[Occurrence | None, datetime | None]:
    found = _coming(live, person, now - MADE_UP_WITHIN)
    if found is None or found.at > now:
        return None, None if found is None else found.at
    following = _coming(live, person, now)
    return found, None if following is None else following.at


def _coming(live: Live, person: Person, after: datetime) -> Occurrence | None:
    """The next occurrence of a date after an instant, from when the journey is enabled."""
    start = live.journey.document.trigger
    assert isinstance(start, DateTrigger), "the others have no date"
    day = person.day(start)
    if day is None:
        return None
    found = next_date(start, day, person.zone, after)
    if found is not None and found.at < live.since:
        found = next_date(start, day, person.zone, max(after, live.since))
    return found


def _starts(live: Live, timer: Timer, found: Occurrence) -> Incoming:
    start = live.journey.document.trigger
    type_ = start.of if isinstance(start, InactivityTrigger) else DATE
    trigger = TriggerEvent(type_, timer.customer_id, found.key, found.facts, found.at, timer.cause)
    since = timer.base if timer.base is not None else found.at
    return Incoming(trigger, partial(look_up, found.facts), since, None, (live,))


def stretch(live: Live, trigger: TriggerEvent) -> Timer:
    """The timer of a stretch of inactivity that begins with an event."""
    start = live.journey.document.trigger
    assert isinstance(start, InactivityTrigger), "only inactivity has stretches"
    due_at = inactive(start, trigger.at).at
    return Timer(trigger.customer_id, live.id, trigger.at, None if due_at < live.since else due_at, trigger.cause)


def stretches(live: Live, last: Mapping[str, datetime], customers: Collection[str], cause: Cause) -> list[Timer]:
    """The timers of inactivity of customers, by the last event of each."""
    start = live.journey.document.trigger
    assert isinstance(start, InactivityTrigger), "only inactivity has stretches"
    timers: list[Timer] = []
    for customer_id in customers:
        if (base := last.get(customer_id)) is not None:
            due_at = inactive(start, base).at
            timers.append(Timer(customer_id, live.id, base, None if due_at < live.since else due_at, cause))
    return timers
