"""Answers requests from a list of changes in memory."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from operator import attrgetter
from typing import TypeVar
from zoneinfo import ZoneInfo

from services.tiers.rules.metrics import Amount, Answer, Change, Reading, Request, Sums
from services.tiers.rules.program.calendar import Calendar
from services.tiers.rules.program.compiled import Period

T = TypeVar("T")

_DAYS = Period("rolling_days", 1)


class InMemory:
    """All changes of a customer."""

    def __init__(self, changes: Iterable[Change]) -> None:
        self._changes = sorted(changes, key=attrgetter("earned_at"))
        self._earned = [change.earned_at for change in self._changes]

    def run(self, reading: Reading[T]) -> T:
        """The result of a computation, whose requests are answered."""
        answers: Sequence[Answer] | None = None
        try:
            while True:
                requests = reading.send(answers) if answers is not None else next(reading)
                answers = [self.answer(request) for request in requests]
        except StopIteration as end:
            return end.value

    def answer(self, request: Request) -> Answer:
        """The sums that a request asks for."""
        first = 0 if request.since is None else bisect_left(self._earned, request.since)
        last = len(self._earned) if request.before is None else bisect_left(self._earned, request.before)
        counted = (change for change in self._changes[first:last] if _is_known(change, request.known))
        return sum_up(counted) if request.by_day_of is None else _by_day(counted, request.by_day_of)


def sum_up(changes: Iterable[Change]) -> Sums:
    """The sums of changes."""
    sums: defaultdict[tuple[str, str], Amount] = defaultdict(int)
    for change in changes:
        sums[change.metric, change.name] += change.amount
    return dict(sums)  # pyright: ignore[reportReturnType] the keys are metrics


def _by_day(changes: Iterable[Change], zone: str) -> dict[date, Sums]:
    calendar = Calendar(ZoneInfo(zone), _DAYS)
    days: defaultdict[date, list[Change]] = defaultdict(list)
    for change in changes:
        days[calendar.day(change.earned_at)].append(change)
    return {day: sum_up(own) for day, own in days.items()}


def _is_known(change: Change, known: datetime | None) -> bool:
    return known is None or change.at < known
