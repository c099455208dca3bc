"""Conditions on the time of the event."""

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints

from services.points.rules.program.conditions.condition import Condition, LintContext, Terms, Test
from services.points.rules.program.extents import Extent, Span
from services.points.rules.program.values import WEEKDAYS, Weekday
from shared.programs.values import moment_of

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_CLOCK: Final = r"^(?:[01][0-9]|2[0-3]):[0-5][0-9]$"


class Window(Condition):
    """The event occurred at or after `from`, and before `to`.

    An end is a date (its 00:00), a date-time in the program's time zone, or a date-time with an offset.
    """

    looks_at = "time"
    noun = "moment"

    kind: Literal["window"]
    from_: Annotated[str, Field(alias="from", description="The first instant.", examples=["2026-03-01"])]
    to: Annotated[str, Field(description="The instant after the last.", examples=["2026-04-01T00:00:00+03:00"])]

    def test(self, terms: Terms) -> Test:
        start, end = moment_of(self.from_, terms.zone), moment_of(self.to, terms.zone)
        return lambda facts, _: start <= facts.time < end

    def extent(self, terms: Terms) -> Extent:
        return Span(_number(moment_of(self.from_, terms.zone)), _number(moment_of(self.to, terms.zone)))

    def faults(self, terms: Terms) -> Iterator[tuple[str, str]]:
        ends: list[datetime] = []
        for field, text in (("from", self.from_), ("to", self.to)):
            try:
                ends.append(moment_of(text, terms.zone))
            except (ValueError, OverflowError):
                yield field, "neither a date nor a date-time, such as 2026-03-01 or 2026-03-01T09:00:00+03:00"
        if len(ends) == 2 and ends[0] >= ends[1]:
            yield "to", "a window must end after it begins"

    def doubt(self, context: LintContext) -> str | None:
        if moment_of(self.to, context.terms.zone) <= context.now:
            return f"this window has been over since {self.to}: the rule matches no longer"
        return None


class WeekdayIn(Condition):
    """The event occurred on one of these days of the week."""

    looks_at = "local time"
    noun = "day"
    everything = frozenset(WEEKDAYS)

    kind: Literal["weekday_in"]
    days: Annotated[
        tuple[Weekday, ...], Field(min_length=1, max_length=7, description="Days in the program's time zone.")
    ]

    def test(self, terms: Terms) -> Test:
        days = frozenset(WEEKDAYS.index(day) for day in self.days)
        return lambda facts, _: facts.local.weekday() in days

    def extent(self, terms: Terms) -> Extent:
        return frozenset(self.days)


class Hours(Condition):
    """The event occurred at or after one time of day, and before another; past midnight if `from` is the later one."""

    looks_at = "local time"
    noun = "time of the day"

    kind: Literal["hours"]
    from_: Annotated[
        str,
        StringConstraints(pattern=_CLOCK),
        Field(alias="from", description="The first time of day, in the program's time zone.", examples=["22:00"]),
    ]
    to: Annotated[
        str,
        StringConstraints(pattern=_CLOCK),
        Field(description="The time of day after the last.", examples=["02:00"]),
    ]

    def test(self, terms: Terms) -> Test:
        start, end = time.fromisoformat(self.from_), time.fromisoformat(self.to)
        if start < end:
            return lambda facts, _: start <= facts.local.time() < end
        return lambda facts, _: not end <= facts.local.time() < start

    def extent(self, terms: Terms) -> Extent:
        return _minutes(self.from_, self.to)

    def faults(self, terms: Terms) -> Iterator[tuple[str, str]]:
        if self.from_ == self.to:
            yield "to", "equal ends: from and to must differ"


TimeCondition = Window | WeekdayIn | Hours


def _number(moment: datetime) -> int:
    """An instant as microseconds, so that instants of all zones compare."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


@lru_cache(maxsize=256)
def _minutes(start: str, end: str) -> frozenset[int]:
    """The minutes of a day between two times, past midnight if the first is the later one."""
    first, last = (int(text[:2]) * 60 + int(text[3:]) for text in (start, end))
    return frozenset(range(first, last)) if first < last else frozenset(range(24 * 60)).difference(range(last, first))
