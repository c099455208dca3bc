"""Days, windows and periods of a tier program.

A day of a time zone begins with its first instant: where 00:00 is skipped, with the first instant after it; where it
comes twice, with the first. So days follow each other without gaps or overlaps, whatever the clocks do. All instants
are in UTC; near the ends of the calendar they are moved to the nearest day that every time zone has.
"""

from calendar import isleap
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from services.tiers.rules.program.compiled import Period

Span = tuple[datetime | None, datetime]
"""The instants from the first (None: ever) to before the second."""

_FIRST: Final = date(1, 1, 3).toordinal()
_LAST: Final = date(9999, 12, 29).toordinal()
_SECOND: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Calendar:
    """The days of a time zone and the windows of a period; years of `anniversary` begin on the day of `anchor`.

    Without an anchor, they begin on the day that is asked about.
    """

    zone: ZoneInfo
    period: Period
    anchor: datetime | None = None

    def day(self, moment: datetime) -> date:
        """The day of an instant."""
        return date.fromordinal(_day_of(moment, self.zone))

    def start(self, day: date) -> datetime:
        """The first instant of a day."""
        return _start_of(day.toordinal(), self.zone)

    def days_after(self, moment: datetime, days: int) -> datetime:
        """The first instant of the day that is some days after an instant's day; of an earlier one if below 0."""
        return self._start(_day_of(moment, self.zone) + days)

    def window(self, moment: datetime) -> datetime | None:
        """The start of the window that ends with an instant; None: it has none, or begins before the calendar."""
        match self.period.kind:
            case "lifetime":
                return None
            case "rolling_days":
                start = self.days_after(moment, 1 - self.period.days)
            case _:
                start = self._year(moment, 0)
        return start if start > _start_of(_FIRST, self.zone) else None

    def ended(self, end: datetime) -> tuple[Span, ...]:
        """The periods that end with an instant, any of which can keep a tier.

        Inside a calendar or anniversary year these are the whole year before and the one that runs.
        """
        if self.period.kind == "lifetime":
            return ((None, end),)
        if self.period.kind == "rolling_days":
            is_whole = end == self.days_after(end, 0)
            return ((self.days_after(end, -self.period.days if is_whole else 1 - self.period.days), end),)
        before, begun = self._year(end, -1), self._year(end, 0)
        return ((before, begun),) if begun == end else ((before, begun), (begun, end))

    def reached(self, moment: datetime) -> datetime | None:
        """The end of a tier that is reached at an instant, or kept in grace; None: not within the calendar."""
        match self.period.kind:
            case "lifetime":
                return None
            case "rolling_days":
                end = self.days_after(moment, self.period.days + 1)
            case _:
                end = self._year(moment, 2)
        return end if end > moment else None

    def period_from(self, moment: datetime) -> datetime | None:
        """The end of the whole period that begins at an instant or next after it; None: not within the calendar."""
        match self.period.kind:
            case "lifetime":
                return None
            case "rolling_days":
                is_inside = moment != self.days_after(moment, 0)
                end = self.days_after(moment, self.period.days + is_inside)
            case _:
                end = self._year(moment, 1 + (moment != self._year(moment, 0)))
        # Where the calendar ends, a period that did not end later would end for ever.
        return end if end > moment else None

    def _start(self, ordinal: int) -> datetime:
        return _start_of(ordinal, self.zone)

    def _year(self, moment: datetime, years: int) -> datetime:
        """The beginning of the year some years after the one that contains an instant."""
        day = date.fromordinal(_day_of(moment, self.zone))
        first = date(1, 1, 1) if self.period.kind == "calendar_year" else day if self.anchor is None else self._anchor()
        year = day.year if _first_day(day.year, first) <= day.toordinal() else day.year - 1
        return self._start(_first_day(year + years, first))

    def _anchor(self) -> date:
        assert self.anchor is not None, "asked for only where there is one"
        return date.fromordinal(_day_of(self.anchor, self.zone))


def _first_day(year: int, first: date) -> int:
    """The day in a year on which years begin, as an ordinal; 29 February is 28 February in common years."""
    if not 1 <= year <= 9999:
        return _FIRST if year < 1 else _LAST
    if (first.month, first.day) == (2, 29) and not isleap(year):
        return date(year, 2, 28).toordinal()
    return first.replace(year=year).toordinal()


@lru_cache(maxsize=4096)  # several windows and periods are asked of one instant, in a simulation of all customers
def _day_of(moment: datetime, zone: ZoneInfo) -> int:
    """The day of an instant in a time zone, as an ordinal."""
    try:
        day = moment.astimezone(zone).toordinal()
    except OverflowError:
        return _FIRST if moment.year < 5000 else _LAST
    # Where clocks go back over midnight, a day that has begun does not end again.
    if day < _LAST and _start_of(day + 1, zone) <= moment:
        day += 1
    return min(max(day, _FIRST), _LAST)


@lru_cache(maxsize=65_536)
def _start_of(ordinal: int, zone: ZoneInfo) -> datetime:
    """The first instant of a day in a time zone."""
    day = date.fromordinal(min(max(ordinal, _FIRST), _LAST))
    # Of two the first; where 00:00 is skipped, what it would be by the offset before.
    midnight = datetime.combine(day, time(), zone).astimezone(UTC)
    if midnight.astimezone(zone).replace(tzinfo=None) == datetime.combine(day, time()):
        return midnight
    before = datetime.combine(day, time(), zone).replace(fold=1).astimezone(UTC)
    # The clocks were put forward between the two, perhaps before midnight.
    while midnight - before > _SECOND:
        middle = before + ((midnight - before) // 2 // _SECOND or 1) * _SECOND
        if middle.astimezone(zone).date() < day:
            before = middle
        else:
            midnight = middle
    return midnight
