"""The window of spend: the money spent in the 365 calendar days (UTC) that end with a given day."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from heapq import heapify, heappop, heappush
from typing import Final

from services.tiers.rules.curve import Amount, Curve, Reading, amount_of, start_of_day, to_microsecond
from services.tiers.rules.spend import SpendChange

DAYS: Final = 365


def first_day(last: int) -> int:
    """The first day of the window that ends with `last`; days are ordinals."""
    return last - DAYS + 1


def start_of(day: int) -> datetime:
    """The instant at which a day begins; for days before the calendar, its first instant."""
    return datetime.fromordinal(max(day, 1)).replace(tzinfo=UTC)


def on_curve(change: SpendChange) -> list[tuple[int, Amount]]:
    """A change as the curve has it, as (microsecond, amount): it is undone when its day leaves the window."""
    leaves = start_of_day(change.day + DAYS)
    at, amount = to_microsecond(change.at), amount_of(change.amount)
    return [(at, amount), (leaves, -amount)] if amount and at < leaves else []


def count(curve: Curve, spend_changes: Iterable[SpendChange]) -> Reading[None]:
    """Add changes to a curve of spend."""
    amounts = [(at, amount) for change in spend_changes for at, amount in on_curve(change)]
    yield from curve.read(at for at, _ in amounts)
    for at, amount in amounts:
        yield from curve.add(at, amount)


@dataclass(slots=True)
class Window:
    """A running sum over the window, which only moves forward.

    `spend` includes days that `days` need not contain, unless the window moves past them.
    """

    spend: Fraction = Fraction(0)
    last: int = 0
    days: dict[int, Fraction] = field(default_factory=dict[int, Fraction])
    _order: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self._order = list(self.days)
        heapify(self._order)

    def move(self, last: int) -> None:
        """Move the end of the window to the day `last`; days before its new start no longer count."""
        self.last = max(self.last, last)
        first = first_day(self.last)
        while self._order and self._order[0] < first:
            self.spend -= self.days.pop(heappop(self._order))

    def add(self, day: int, amount: Fraction) -> None:
        """Add an amount to a day; a day before the window does not count."""
        if day < first_day(self.last):
            return
        self.spend += amount
        if day in self.days:
            self.days[day] += amount
        else:
            self.days[day] = amount
            heappush(self._order, day)
