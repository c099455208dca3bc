"""The days of a time zone on which something was earned."""

from collections.abc import Iterable
from datetime import date, datetime
from typing import Final
from zoneinfo import ZoneInfo

from services.tiers.rules.program.calendar import Calendar
from services.tiers.rules.program.compiled import Period

_ANY: Final = Period("lifetime")

_FIRST: Final = date.min.toordinal()
_LAST: Final = date.max.toordinal()


def days_around(zone: str, dates: Iterable[date]) -> list[tuple[date, datetime]]:
    """The days of a time zone that overlap these days of UTC, in order, each with its first instant."""
    calendar = Calendar(ZoneInfo(zone), _ANY)
    # No time zone is a whole day from UTC: a day of UTC overlaps at most two days of one beside its own date.
    near = {min(max(own.toordinal() + days, _FIRST), _LAST) for own in dates for days in (-1, 0, 1)}
    # Near the ends of the calendar, several dates are one day.
    starts = {calendar.start(date.fromordinal(ordinal)) for ordinal in near}
    return [(calendar.day(start), start) for start in sorted(starts)]
