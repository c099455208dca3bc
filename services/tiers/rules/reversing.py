"""Points that were earned and reversed for one reason: a fold over the set of its transactions.

The transactions of a reason (an order, a review, a referral, …) are those whose ids it names. In the order of (time,
transaction id), what is earned counts on its day, and a reversal lowers what was earned last and is left. A reversal
can be earlier than what it takes: what it did not find, it takes from what is earned next. So by any instant, a reason
counts what it earned less what was reversed, and never less than 0.

A transaction that comes last, or that finds plenty of points of one day, is added to a small state. Any other one needs
all transactions of its reason.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Self

from services.tiers.rules.metrics import Change

Place = tuple[datetime, str]


class Transaction(NamedTuple):
    """A transaction that earned points (`points` above 0) or reversed some (below 0)."""

    time: datetime
    id: str
    points: int

    @property
    def place(self) -> Place:
        """Its place among the transactions of its reason."""
        return self.time, self.id


class UnreadTransactionsError(LookupError):
    """The effect of a transaction depends on all others of its reason, which were not read."""


@dataclass(slots=True)
class Reversing:
    """The state of a reason: `left` are the days' points that are left, the last earned at the end.

    `debt` is what reversals did not find. `only` is the instant at which everything was earned, None where there are
    several. `transactions` are all of the reason, None where they were not read.
    """

    left: list[tuple[datetime, int]] = field(default_factory=list[tuple[datetime, int]])
    debt: int = 0
    last: Place | None = None
    only: datetime | None = None
    transactions: list[Transaction] | None = None
    _is_new: bool = True
    """Whether nothing was earned yet."""

    @classmethod
    def earned(cls, transaction: Transaction) -> Self:
        """The state after a single transaction, which earned points."""
        state = cls()
        state.add_last(transaction)
        return state

    def add(self, transaction: Transaction) -> list[Change]:
        """Add a transaction; returns what it changes.

        Raises:
            UnreadTransactionsError: that depends on transactions that were not read.
        """
        changes = self._add_anywhere(transaction)
        if changes is None:
            changes = self.add_last(transaction) if self._is_last(transaction) else self._add_again(transaction)
        if self.transactions is not None:
            self.transactions.append(transaction)
        return changes

    def add_last(self, transaction: Transaction) -> list[Change]:
        """Add a transaction that comes after all others."""
        time, _, points = transaction
        self.last = transaction.place
        if points < 0:
            return self._reverse(time, -points)
        self.only = time if self._is_new or time == self.only else None
        self._is_new = False
        back = min(self.debt, points)
        self.debt -= back
        self.left.append((time, points - back))
        return [_change(time, time, points), *([_change(time, time, -back)] if back else [])]

    def to_json(self) -> dict[str, Any]:
        """The state as it is stored."""
        assert self.last is not None, "a state without transactions is not stored"
        return {
            "left": [(at.isoformat(), points) for at, points in self.left],
            "debt": self.debt,
            "last": (self.last[0].isoformat(), self.last[1]),
            "only": self.only and self.only.isoformat(),
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """The state that was stored."""
        left = [(datetime.fromisoformat(at), points) for at, points in stored["left"]]
        time, id_ = stored["last"]
        only = stored["only"] and datetime.fromisoformat(stored["only"])
        return cls(left, stored["debt"], (datetime.fromisoformat(time), id_), only, _is_new=False)

    def _is_last(self, transaction: Transaction) -> bool:
        return self.last is None or transaction.place > self.last

    def _add_anywhere(self, transaction: Transaction) -> list[Change] | None:
        """Add a transaction whose effect does not depend on its place; None if it depends on it."""
        time, _, points = transaction
        if self.only is None or self.debt or (points > 0 and time != self.only):
            return None
        left = sum(count for _, count in self.left) + points
        if left < 0:
            return None
        earned_at = self.only
        self.left = [(earned_at, left)]
        if self._is_last(transaction):
            self.last = transaction.place
        return [_change(max(time, earned_at), earned_at, points)]

    def _reverse(self, time: datetime, points: int) -> list[Change]:
        changes: list[Change] = []
        while points and self.left:
            earned_at, left = self.left.pop()
            back = min(left, points)
            points -= back
            if back:
                changes.append(_change(time, earned_at, -back))
            if back < left:
                self.left.append((earned_at, left - back))
        self.debt += points
        return changes

    def _add_again(self, transaction: Transaction) -> list[Change]:
        """Add a transaction at any place: all are folded again."""
        if self.transactions is None:
            raise UnreadTransactionsError
        folded, new = _fold([*self.transactions, transaction])
        _, old = _fold(self.transactions)
        sums = Counter[tuple[datetime, datetime, bool]]()
        for sign, changes in ((1, new), (-1, old)):
            for change in changes:
                sums[change.at, change.earned_at, change.is_taking] += sign * int(change.amount)
        self.left, self.debt, self.last, self.only = folded.left, folded.debt, folded.last, folded.only
        return [
            Change(at, earned_at, "points", "", points, is_taking)
            for (at, earned_at, is_taking), points in sums.items()
            if points
        ]


def changes_of(transactions: Iterable[Transaction]) -> list[Change]:
    """What the transactions of a reason change: the definition."""
    return _fold(transactions)[1]


def _fold(transactions: Iterable[Transaction]) -> tuple[Reversing, list[Change]]:
    state, changes = Reversing(), list[Change]()
    for transaction in sorted(transactions, key=_place_of):
        changes += state.add_last(transaction)
    return state, changes


def _place_of(transaction: Transaction) -> Place:
    return transaction.place


def _change(at: datetime, earned_at: datetime, points: int) -> Change:
    return Change(at, earned_at, "points", "", points, is_taking=points < 0)
