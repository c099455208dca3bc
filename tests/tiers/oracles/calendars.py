"""Days, windows and periods of a program, by the wording of programs.md (Period) and answers.md T3-T5, T22, T23."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

TICK = timedelta(microseconds=1)
"""The smallest step of time: `t + TICK` as an exclusive bound means "up to and including t"."""


class Span(NamedTuple):
    """The instants from `since` (none: ever) up to, but without, `before`."""

    since: datetime | None
    before: datetime


@lru_cache(maxsize=100_000)
def day_start(day: date, zone: str) -> datetime:
    """The first instant of a day (T22): 00:00, its first one, or the end of the gap that swallows it."""
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).astimezone(UTC)


@lru_cache(maxsize=100_000)
def day_of(instant: datetime, zone: str) -> date:
    """The day to which an instant belongs: the last one that has begun by then."""
    day = instant.astimezone(ZoneInfo(zone)).date()
    following = day + timedelta(days=1)
    return following if day_start(following, zone) <= instant else day


def same_day_of(day: date, year: int) -> date:
    """An anniversary of a day: 29 February is the 28th in common years only (T23)."""
    try:
        return day.replace(year=year)
    except ValueError:
        return day.replace(year=year, day=28)


class Periods:
    """The windows and periods of one program for one customer, as known at one instant.

    Args:
        kind: `rolling_days`, `calendar_year`, `anniversary` or `lifetime`.
        days: the length of rolling windows.
        zone: the program's time zone.
        anchor: the day of the first counted event that is known; without one, the day that is judged (T23).
    """

    def __init__(self, kind: str, days: int, zone: str, anchor: date) -> None:
        self.kind, self.days, self.zone, self.anchor = kind, days, zone, anchor

    def window_start(self, instant: datetime) -> datetime | None:
        """The first instant of the window of an instant."""
        if self.kind == "lifetime":
            return None
        if self.kind == "rolling_days":
            return self._start(day_of(instant, self.zone) - timedelta(days=self.days - 1))
        return self._boundary(self._year_of(instant))

    def ended_with(self, end: datetime) -> tuple[Span, ...]:
        """The period that ends with an instant; inside a year, the whole one before and the one that runs (T5)."""
        if self.kind == "lifetime":
            return (Span(None, end),)
        if self.kind == "rolling_days":
            return (Span(self.window_start(end - TICK), end),)
        year = self._year_of(end)
        begun = self._boundary(year)
        before = Span(self._boundary(year - 1), begun)
        return (before,) if begun == end else (before, Span(begun, end))

    def judged_at(self, instant: datetime) -> tuple[Span, ...]:
        """What `full` looks at: the window of an instant, and in years the whole one before as well (T5)."""
        if self.kind in ("calendar_year", "anniversary"):
            return self.ended_with(instant)
        return (Span(self.window_start(instant), instant),)

    def end_if_reached(self, instant: datetime) -> datetime | None:
        """How long a tier holds that is reached (or kept in grace) at an instant."""
        if self.kind == "lifetime":
            return None
        if self.kind == "rolling_days":
            return self._start(day_of(instant, self.zone) + timedelta(days=self.days + 1))
        return self._boundary(self._year_of(instant) + 2)

    def one_period_from(self, instant: datetime) -> datetime | None:
        """The end of the N whole days, or the whole year, that begin at an instant or next after it (T4)."""
        if self.kind == "lifetime":
            return None
        if self.kind == "rolling_days":
            day = day_of(instant, self.zone)
            first = day if self._start(day) == instant else day + timedelta(days=1)
            return self._start(first + timedelta(days=self.days))
        year = self._year_of(instant)
        return self._boundary(year + 1 if self._boundary(year) == instant else year + 2)

    def _start(self, day: date) -> datetime:
        return day_start(day, self.zone)

    def _boundary(self, year: int) -> datetime:
        if self.kind == "calendar_year":
            return self._start(date(year, 1, 1))
        return self._start(same_day_of(self.anchor, year))

    def _year_of(self, instant: datetime) -> int:
        """The last year whose boundary is not after an instant."""
        return _last(lambda year: self._boundary(year) <= instant, day_of(instant, self.zone).year + 1)


def _last(holds: Callable[[int], bool], start: int) -> int:
    while not holds(start):
        start -= 1
    return start
