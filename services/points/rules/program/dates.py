"""When points become available and when they expire, and the period of a limit that an event belongs to.

Days are calendar days in the program's time zone. Points whose last day is D are gone at 00:00 of the day after D.
"""

from calendar import monthrange
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from services.points.rules.program.document import Per
from services.points.rules.program.lifetimes import (
    ActivateAfterDays,
    ActivateOnDelivery,
    Activation,
    ExpireAfterDays,
    ExpireAfterMonths,
    ExpireEndOfYear,
    Expiry,
)

_LATEST: Final = date(9998, 12, 31)
"""The latest last day of points; later ones are moved to it."""

_FIRST_INSTANT: Final = datetime(1, 1, 9, tzinfo=UTC)
_LAST_INSTANT: Final = datetime(9999, 12, 23, tzinfo=UTC)
"""At these instants a whole week before and after is on the calendar, in every time zone."""


def local(moment: datetime, zone: ZoneInfo) -> datetime:
    """An instant in local time; near the ends of the calendar, the nearest instant that every time zone has."""
    if not _FIRST_INSTANT <= moment <= _LAST_INSTANT:
        moment = min(max(moment, _FIRST_INSTANT), _LAST_INSTANT)
    return moment.astimezone(zone)


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """00:00 of a day in a time zone, as an instant in UTC; if that time does not exist, the first instant after it."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def day_of(moment: datetime, zone: ZoneInfo) -> date:
    """The calendar day of an instant in a time zone."""
    return local(moment, zone).date()


def after(day: date, days: int) -> date:
    """The day some days later, at most the latest."""
    return min(_LATEST, day + timedelta(days=min(days, (_LATEST - day).days)))


def activates_at(rule: Activation, occurred_at: datetime, zone: ZoneInfo) -> datetime | None:
    """The instant from which points are available; None if they wait for a delivery."""
    if isinstance(rule, ActivateOnDelivery):
        return None
    if isinstance(rule, ActivateAfterDays):
        return max(occurred_at, midnight(after(day_of(occurred_at, zone), rule.days), zone))
    return occurred_at


def cancels_at(rule: Activation, occurred_at: datetime, zone: ZoneInfo) -> datetime | None:
    """The instant at which points that wait for a delivery are given up, or None."""
    if not isinstance(rule, ActivateOnDelivery) or rule.cancel_after_days is None:
        return None
    return max(occurred_at, midnight(after(day_of(occurred_at, zone), rule.cancel_after_days), zone))


def expires_at(rule: Expiry, activated_at: datetime, zone: ZoneInfo) -> datetime | None:
    """The instant at which points expire, counted from their activation; None is never."""
    day = day_of(activated_at, zone)
    match rule:
        case ExpireAfterDays():
            last = after(day, rule.days)
        case ExpireAfterMonths():
            last = _months_after(day, rule.months)
        case ExpireEndOfYear():
            last = min(_LATEST, date(min(day.year + rule.years, _LATEST.year), 12, 31))
        case _:
            return None
    return midnight(after(last, 1), zone)


def _months_after(day: date, months: int) -> date:
    """The same day some months later, or the end of that month (31 January + 1 = the end of February)."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    if year >= _LATEST.year:
        return _LATEST
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def period(per: Per, day: date, week_start: int) -> str:
    """The name of the period of a limit that contains a day; `week_start`: 0 is Monday."""
    match per:
        case "day":
            return day.isoformat()
        case "week":
            return f"week/{(day - timedelta(days=(day.weekday() - week_start) % 7)).isoformat()}"
        case "month":
            return f"{day.year:04}-{day.month:02}"
        case "year":
            return f"{day.year:04}"
        case _:
            return "ever"


def birthday_in(year: int, born: date) -> date:
    """The birthday in a year; 29 February becomes 28 February in years without it."""
    if (born.month, born.day) == (2, 29):
        return date(year, 2, monthrange(year, 2)[1])
    return born.replace(year=year)
