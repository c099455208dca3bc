"""The days of requests by day."""

from collections.abc import Iterable
from datetime import date, datetime
from typing import Final
from zoneinfo import ZoneInfo

from services.tiers.rules.metrics import Request
from services.tiers.rules.program.calendar import Calendar
from services.tiers.rules.program.compiled import Period

_ANY: Final = Period("lifetime")


def days_of(zone: str, requests: Iterable[Request]) -> list[tuple[date, datetime]]:
    """The days of a time zone that requests by day reach over, in order, each with its first instant.

    Raises:
        ValueError: a request has no first or no last instant.
    """
    calendar = Calendar(ZoneInfo(zone), _ANY)
    days: set[int] = set()
    for request in requests:
        ends = [end for end in (request.before, request.known) if end is not None]
        if request.since is None or not ends:
            raise ValueError("a request by day needs limits: a `since`, and a `before` or a `known`")
        days.update(range(calendar.day(request.since).toordinal(), calendar.day(min(ends)).toordinal() + 1))
    return [(day, calendar.start(day)) for day in map(date.fromordinal, sorted(days))]
