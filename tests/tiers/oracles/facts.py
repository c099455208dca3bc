"""What a history consists of: changes of metrics and assignments by hand; builders for the events of the shop."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import NamedTuple, Protocol


class Changed(Protocol):
    """One change of a metric, as the model reads it: any class with these attributes will do."""

    @property
    def at(self) -> datetime:
        """The instant from which the change counts."""
        ...

    @property
    def earned_at(self) -> datetime:
        """The instant whose day the change raises or lowers."""
        ...

    @property
    def metric(self) -> str:
        """`spend`, `orders`, `points`, `reviews`, `referrals` or `activities`."""
        ...

    @property
    def name(self) -> str:
        """The currency of spend, the name of an activity, else empty."""
        ...

    @property
    def amount(self) -> int | Fraction:
        """The exact amount: below 0 where something is taken back."""
        ...

    @property
    def is_taking(self) -> bool:
        """Whether it is part of a refund, a withdrawal, a void or a reversal."""
        ...


class Change(NamedTuple):
    """One change of a metric."""

    at: datetime
    earned_at: datetime
    metric: str
    name: str
    amount: int | Fraction
    is_taking: bool


class Assignment(NamedTuple):
    """A tier given by hand."""

    at: datetime
    tier: str
    until: datetime | None = None
    locked: bool = False


def order(at: datetime, total: str, *refunds: tuple[datetime, str], currency: str = "USD") -> list[Change]:
    """A purchase and its refunds (instant, amount): spend +total, orders +1, and what each refund takes."""
    kept = Fraction(total)
    if kept == 0:
        return []
    changes = [Change(at, at, "spend", currency, kept, False), Change(at, at, "orders", "", 1, False)]
    for asked_at, asked in sorted(refunds, key=lambda refund: refund[0]):
        taken = min(kept, Fraction(asked))
        if taken == 0:
            continue
        kept -= taken
        taken_at = max(at, asked_at)
        changes.append(Change(taken_at, at, "spend", currency, -taken, True))
        if kept == 0:
            changes.append(Change(taken_at, at, "orders", "", -1, True))
    return changes


def single(metric: str, at: datetime, taken_at: datetime | None = None, *, name: str = "") -> list[Change]:
    """A review, a referral or an activity, with its withdrawal or void if there is one."""
    changes = [Change(at, at, metric, name, 1, False)]
    if taken_at is not None:
        changes.append(Change(max(at, taken_at), at, metric, name, -1, True))
    return changes


def points(at: datetime, earned: int, *reversals: tuple[datetime, int]) -> list[Change]:
    """Qualifying points and their reversals (instant, points), which never go below 0."""
    kept = earned
    changes = [Change(at, at, "points", "", earned, False)] if earned else []
    for reversed_at, asked in sorted(reversals, key=lambda reversal: reversal[0]):
        taken = min(kept, asked)
        kept -= taken
        if taken:
            changes.append(Change(max(at, reversed_at), at, "points", "", -taken, True))
    return changes


@dataclass(frozen=True)
class Bought:
    """An order of the shop; each refund is its instant and amount, in the order of their ids."""

    order_id: str
    at: datetime
    total: str
    currency: str
    refunds: tuple[tuple[datetime, str], ...] = ()

    def changes(self) -> list[Change]:
        """What it changes."""
        return order(self.at, self.total, *self.refunds, currency=self.currency)


@dataclass(frozen=True)
class Counted:
    """A review, a referral or an activity (of a name), and when it is withdrawn or voided."""

    id: str
    metric: str
    at: datetime
    taken_at: datetime | None = None
    name: str = ""

    def changes(self) -> list[Change]:
        """What it changes."""
        return single(self.metric, self.at, self.taken_at, name=self.name)


@dataclass(frozen=True)
class Earned:
    """Qualifying points of one award, and their reversals as (instant, points)."""

    transaction_id: str
    at: datetime
    points: int
    reversals: tuple[tuple[datetime, int], ...] = ()

    def changes(self) -> list[Change]:
        """What it changes."""
        return points(self.at, self.points, *self.reversals)


Fact = Bought | Counted | Earned


def joined(parts: Sequence[Sequence[Change]]) -> list[Change]:
    """All changes of several events, in the order of time."""
    return sorted((change for part in parts for change in part), key=lambda change: change.at)
