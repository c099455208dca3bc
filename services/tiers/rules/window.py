"""The window of spend: what was spent in the 365 calendar days (UTC) that end with a day."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from heapq import heapify, heappop, heappush
from typing import Final

from services.tiers.rules.curve import Amount, Curve, Reading, amount_of, start_of_day, to_microsecond
from services.tiers.rules.order import Movement

DAYS: Final = 365


def first_day(last: int) -> int:
    """The first day of the window that ends with `last`; days are ordinals."""
    return last - DAYS + 1


def start_of(day: int) -> datetime:
    """The instant at which a day begins; before the calendar, the calendar's first."""
    return datetime.fromordinal(max(day, 1)).replace(tzinfo=UTC)


def changes(movement: Movement) -> list[tuple[int, Amount]]:
    """What a movement changes of spend, as (microsecond, amount): its day leaves the window after 365 days."""
    leaves = start_of_day(movement.day + DAYS)
    at, amount = to_microsecond(movement.at), amount_of(movement.amount)
    return [(at, amount), (leaves, -amount)] if amount and at < leaves else []


def count(curve: Curve, movements: Iterable[Movement]) -> Reading[None]:
    """Add movements to a curve of spend."""
    found = [change for movement in movements for change in changes(movement)]
    yield from curve.read(at for at, _ in found)
    for at, amount in found:
        yield from curve.add(at, amount)


@dataclass(slots=True)
class Window:
    """A running sum over the window; it only moves forward.

    Days that were in it before it was made need not be told by `days`, unless it moves past them.
    """

    spend: Fraction = Fraction(0)
    last: int = 0
    days: dict[int, Fraction] = field(default_factory=dict[int, Fraction])
    _order: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self._order = list(self.days)
        heapify(self._order)

    def move(self, last: int) -> None:
        """Let the window end with the day `last`; what is behind its new beginning no longer counts."""
        self.last = max(self.last, last)
        first = first_day(self.last)
        while self._order and self._order[0] < first:
            self.spend -= self.days.pop(heappop(self._order))

    def add(self, day: int, amount: Fraction) -> None:
        """Count an amount to a day; one that is behind the window has no part in it any more."""
        if day < first_day(self.last):
            return
        self.spend += amount
        if day in self.days:
            self.days[day] += amount
        else:
            self.days[day] = amount
            heappush(self._order, day)
