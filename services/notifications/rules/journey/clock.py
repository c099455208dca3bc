"""Local times: when a wait ends, and when a date comes."""

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

DAY: Final = timedelta(days=1)
_SECOND: Final = timedelta(seconds=1)
_MINUTES: Final = re.compile(r"(\d\d):(\d\d)")


def instant(day: date, clock: time, zone: ZoneInfo) -> datetime:
    """The instant of a local time: of two the first, and the first one after it where it is skipped."""
    local = datetime.combine(day, clock, zone)
    found = local.astimezone(UTC)
    if found.astimezone(zone).replace(tzinfo=None) == local.replace(tzinfo=None):
        return found
    # The clocks were put forward: `fold=1` counts by the offset after it, which is before the change.
    before = local.replace(fold=1, microsecond=0).astimezone(UTC)
    found = found.replace(microsecond=0)
    wanted = local.replace(tzinfo=None)
    while found - before > _SECOND:
        middle = before + ((found - before) // 2 // _SECOND or 1) * _SECOND
        if middle.astimezone(zone).replace(tzinfo=None) < wanted:
            before = middle
        else:
            found = middle
    return found


def clock_of(text: str) -> time:
    """The local time of `HH:MM`."""
    hours, minutes = _MINUTES.fullmatch(text).groups()  # pyright: ignore[reportOptionalMemberAccess]
    return time(int(hours), int(minutes))


def after_wait(start: datetime, zone: ZoneInfo, days: int, hours: int, at: time | None) -> datetime:
    """When a wait from `start` on is over: local days, then hours, then the next time that the clock shows `at`."""
    moment = start
    if days:
        local = start.astimezone(zone)
        moment = instant(local.date() + days * DAY, local.time(), zone)
    moment += timedelta(hours=hours)
    if at is None:
        return moment
    today = moment.astimezone(zone).date()
    due = instant(today, at, zone)
    return due if due >= moment else instant(today + DAY, at, zone)


def in_year(day: date, year: int) -> date:
    """The anniversary of a day in a year; 29 February is 28 in common years."""
    try:
        return day.replace(year=year)
    except ValueError:
        return day.replace(year=year, day=28)
