"""Quiet hours, and calendar days of a customer's time zone."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_DAY: Final = timedelta(days=1)
_LEAST: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class QuietHours:
    """Hours of local time in which nothing disturbs the customer: from `start` to just before `end`.

    They go over midnight where `end` is not after `start`. Equal ends mean none.
    """

    start: time
    end: time


def end_of_quiet(now: datetime, hours: QuietHours, zone: tzinfo) -> datetime | None:
    """When the quiet hours that `now` lies in end; None if it lies in none.

    A change of the clock never makes them shorter: a local time that does not exist is the first instant after it; of
    a local time that exists twice, `start` is the first and `end` the second.
    """
    if hours.start == hours.end:
        return None
    today = local_day(now, zone)
    over_midnight = _DAY if hours.end <= hours.start else timedelta()
    ends = [
        end
        for day in (today - _DAY, today, today + _DAY)
        if _instant(day, hours.start, zone, fold=0) <= now < (end := _instant(day + over_midnight, hours.end, zone, 1))
    ]
    return max(ends, default=None)


def local_day(moment: datetime, zone: tzinfo) -> date:
    """The calendar day of an instant in a zone; the first and the last representable day stand for days beyond."""
    try:
        day = moment.astimezone(zone).date()
    except OverflowError:
        day = moment.date()
    return min(max(day, date.min + 2 * _DAY), date.max - 2 * _DAY)


def count(sent: Iterable[datetime], now: datetime, zone: tzinfo) -> tuple[int, int]:
    """How many of these instants lie on the local day of `now`, and how many on that day and the six before."""
    today = local_day(now, zone)
    ages = [(today - local_day(moment, zone)).days for moment in sent]
    return sum(age <= 0 for age in ages), sum(age < 7 for age in ages)


@lru_cache(maxsize=1024)
def zone_of(name: str | None) -> tzinfo | None:
    """The time zone with this IANA name; None without a name, and for one that the database does not have."""
    if name is None:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


@lru_cache(maxsize=10_000)
def _instant(day: date, clock: time, zone: tzinfo, fold: int) -> datetime:
    local = datetime.combine(day, clock, zone)
    first, second = (local.replace(fold=which).astimezone(UTC) for which in (0, 1))
    if first <= second:
        return second if fold else first
    # The clock jumps over this local time: `second` lies before the jump and `first` after it.
    offset = first.astimezone(zone).utcoffset()
    while first - second > _LEAST:
        middle = second + (first - second) / 2
        first, second = (middle, second) if middle.astimezone(zone).utcoffset() == offset else (first, middle)
    return first
