"""Which triggers start runs, and what a run begins with."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from services.notifications.rules.journey.asking import Asking
from services.notifications.rules.journey.clock import DAY, clock_of, in_year, instant
from services.notifications.rules.journey.compiled import Journey
from services.notifications.rules.journey.conditions import Standing, View, all_hold
from services.notifications.rules.journey.document import (
    Again,
    Always,
    BeforeTrigger,
    DateTrigger,
    EventTrigger,
    InactivityTrigger,
    Never,
)
from services.notifications.rules.journey.fields import MISSING, matches
from services.notifications.rules.journey.machine import SPENT
from services.notifications.rules.journey.run import Run
from services.notifications.rules.journey.triggers import AT_RISK, EXPIRING
from services.notifications.rules.trigger import TriggerEvent
from shared.contracts.values import format_instant, parse_instant

MADE_UP_WITHIN: Final = DAY
"""How long after its instant a date still starts a run."""

_ANNOUNCED: Final = (1, 7, 30)
"""How many days before they expire Wafa announces points."""
_SLACK: Final = timedelta(minutes=90)
"""By how much a day can be longer than 24 hours, and a job late."""
_ENDS: Final = {"points_expiry": (EXPIRING, "expires_at"), "tier_end": (AT_RISK, "valid_until")}

Field = Callable[[str], object]
"""Reads a field of an event by its path."""


@dataclass(frozen=True, slots=True)
class Live:
    """A journey in force: triggers from `since` on start runs, which is when its first enabled version took effect.

    `kept` says whether any version stores its runs, `unkept` whether any version does not.
    """

    id: str
    journey: Journey
    since: datetime
    kept: bool
    unkept: bool


def admits(live: Live, trigger: TriggerEvent, field: Field) -> bool:
    """Whether an event starts runs of a journey, as far as the event alone shows."""
    start = live.journey.document.trigger
    if trigger.at < live.since:
        return False
    if isinstance(start, EventTrigger):
        return all(matches(condition, field(condition.path)) for condition in start.where)
    return isinstance(start, BeforeTrigger) and _is_announced(start, trigger.at, field)


def trigger_of(live: Live, trigger: TriggerEvent, field: Field) -> TriggerEvent:
    """The trigger as the journey counts it: the end of points or of a tier is one trigger, however often announced."""
    start = live.journey.document.trigger
    if not isinstance(start, BeforeTrigger):
        return trigger
    return replace(trigger, key=f"{start.what}/{field(_ENDS[start.what][1])}")


def event_type(start: object) -> str | None:
    """The type of the events that start runs by a trigger; None for those that time starts."""
    match start:
        case EventTrigger():
            return start.type
        case BeforeTrigger():
            return _ENDS[start.what][0]
        case _:
            return None


def may_start(again: Again, last: datetime | None, at: datetime) -> bool:
    """Whether another run may start at an instant, after the last one that started at `last`."""
    if last is None or isinstance(again, Always):
        return True
    return not isinstance(again, Never) and at - last >= again.days * DAY


def wants(journey: Journey, view: View) -> Asking[bool]:
    """Whether the conditions of a journey hold when a run would start."""
    return (yield from all_hold(journey.document.when, view))


class Start(NamedTuple):
    """What a run starts from; events after `since` count as having happened in it."""

    trigger: TriggerEvent
    since: datetime
    field: Field


def new_run(run_id: UUID, live: Live, start: Start, standing: Standing) -> Run:
    """A run before its first step."""
    trigger, journey = start.trigger, live.journey
    if isinstance(journey.document.trigger, BeforeTrigger):
        trigger = replace(trigger, facts={**trigger.facts, SPENT: standing.spent})
    fields = {path: start.field(path) for path in journey.paths}
    return Run(
        id=run_id,
        customer_id=trigger.customer_id,
        journey=live.id,
        version=journey.version,
        trigger=trigger,
        since=start.since,
        step=journey.nodes[journey.first].step,
        fell_due_at=trigger.at,
        fields={path: value for path, value in fields.items() if value is not MISSING},
    )


class Occurrence(NamedTuple):
    """When a date or a stretch of inactivity starts a run; `key` names it among the customer's triggers."""

    at: datetime
    key: str
    facts: dict[str, str | int]


def inactive(start: InactivityTrigger, last: datetime) -> Occurrence:
    """When a stretch of inactivity since the last event starts a run."""
    told = format_instant(last)
    return Occurrence(last + start.days * DAY, f"inactivity/{told}", {"last_at": told, "days": start.days})


def next_date(start: DateTrigger, day: date | datetime, zone: ZoneInfo, after: datetime) -> Occurrence | None:
    """The first occurrence of a customer's date later than an instant; None if there is none any more."""
    first = day.astimezone(zone).date() if isinstance(day, datetime) else day
    if start.field == "first_purchase_at":
        years = [first.year]
    else:
        # A year begins anew for the day itself; days after a registration count from the registration on.
        since = first.year if start.field == "registered_at" and start.days > 0 else first.year + 1
        now = after.astimezone(zone).year
        years = range(max(since, now - 2), max(since, now - 2) + 6)
    for year in years:
        if (occurrence := _in_year(start, first, zone, year)) is not None and occurrence.at > after:
            return occurrence
    return None


def _in_year(start: DateTrigger, first: date, zone: ZoneInfo, year: int) -> Occurrence | None:
    try:
        day = in_year(first, year) + start.days * DAY
        at = instant(day, clock_of(start.at), zone)
    except (OverflowError, ValueError):
        return None  # beyond the calendar
    key = start.field if start.field == "first_purchase_at" else f"{start.field}/{year}"
    return Occurrence(at, key, {"date": first.isoformat(), "years": year - first.year})


def _is_announced(start: BeforeTrigger, at: datetime, field: Field) -> bool:
    """Whether an event announces an end just so many days before it."""
    ends = field(_ENDS[start.what][1])
    if not isinstance(ends, str):
        return False
    try:
        left = parse_instant(ends).astimezone(UTC) - at
    except (ValueError, OverflowError):
        return False
    if left <= timedelta():
        return False
    days = max(1, -((_SLACK - left) // DAY))
    if days == start.days:
        return True
    # Points that live for a few days only are announced when they are found, so the distance is no more than that.
    nearest = min((each for each in _ANNOUNCED if each >= days), default=0)
    return start.what == "points_expiry" and nearest == start.days
