"""The rewards of approvals: caps cut them, milestones add to them.

A cap is judged once, when an approval is recorded, by what was paid in the period of the approval's instant: under any
version, and whatever was voided since. Milestones are neither cut nor counted by caps. A milestone is paid with the
approval that makes the advocate's approved referrals, without voided ones, exactly its count, unless a standing
referral of the advocate paid it already.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from services.referrals.rules.program.compiled import Cap, Program
from services.referrals.rules.program.document import Per

_FIRST: Final = datetime.min.replace(tzinfo=UTC)
_LAST: Final = datetime.max.replace(tzinfo=UTC)

BUCKET: Final = timedelta(minutes=15)
"""What the program paid is stored in buckets of this length, of which the days of every zone consist."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

PROGRAM: Final = ""
"""The advocate id of spans of all advocates together: no customer's id is empty."""


class Span(NamedTuple):
    """A period of an advocate, or of all (`PROGRAM`): from `start` until before `end`."""

    advocate_id: str
    start: datetime
    end: datetime

    @property
    def is_ever(self) -> bool:
        """Whether the period has no end on either side."""
        return self.start == _FIRST and self.end == _LAST


class Paid(NamedTuple):
    """The rewards that were paid: how many, and their points without milestones."""

    rewards: int = 0
    points: int = 0

    def plus(self, points: int) -> "Paid":
        """With one more reward; none where it has no points."""
        return Paid(self.rewards + 1, self.points + points) if points else self


class Account(NamedTuple):
    """An advocate's approved referrals without voided ones, and the milestones that these paid."""

    approved: int = 0
    milestones: frozenset[int] = frozenset()


class Reward(NamedTuple):
    """The points of an approval; the advocate's are without those of milestones."""

    advocate: int
    friend: int
    is_cut: bool = False
    milestones: tuple[int, ...] = ()
    milestone_points: int = 0


def span(cap: Cap, at: datetime, zone: ZoneInfo, advocate_id: str) -> Span:
    """The period of a cap that contains an instant."""
    owner = advocate_id if cap.scope == "advocate" else PROGRAM
    if cap.per == "ever":
        return Span(owner, _FIRST, _LAST)
    first = _first_day(cap.per, at.astimezone(zone).date())
    return Span(owner, _midnight(first, zone), _midnight(_next(cap.per, first), zone))


def _first_day(per: Per, day: date) -> date:
    match per:
        case "week":
            return day - timedelta(days=min(day.weekday(), (day - date.min).days))
        case "month":
            return day.replace(day=1)
        case "year":
            return day.replace(month=1, day=1)
        case _:
            return day


def _next(per: Per, first: date) -> date | None:
    """The first day of the next period; None after the end of the calendar."""
    try:
        match per:
            case "week":
                return first + timedelta(days=7)
            case "month":
                return (first + timedelta(days=32)).replace(day=1)
            case "year":
                return first.replace(year=first.year + 1)
            case _:
                return first + timedelta(days=1)
    except (OverflowError, ValueError):
        return None


def _midnight(day: date | None, zone: ZoneInfo) -> datetime:
    if day is None:
        return _LAST
    try:
        return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
    except OverflowError:  # the ends of the calendar
        return _FIRST if day.year == 1 else _LAST


def bucket(at: datetime) -> datetime:
    """The start of the bucket that contains an instant."""
    return _EPOCH + (at - _EPOCH) // BUCKET * BUCKET


def cut(program: Program, paid: Iterable[tuple[Cap, Paid]]) -> Reward:
    """The reward of an approval after what was paid in the period of each cap."""
    advocate, friend = program.advocate_points, program.friend_points
    for cap, before in paid:
        if cap.scope == "advocate":
            advocate = min(advocate, _left(cap, before))
        else:
            left = _left(cap, before)
            friend = min(friend, left)
            advocate = min(advocate, left - friend)
    return Reward(advocate, friend, (advocate, friend) != (program.advocate_points, program.friend_points))


def _left(cap: Cap, before: Paid) -> int:
    """The points that a cap leaves of a reward."""
    if cap.points is not None:
        return max(0, cap.points - before.points)
    assert cap.count is not None, "a cap has a count or points"
    return _ANY if before.rewards < cap.count else 0


_ANY: Final = 10**18
"""More points than any reward has."""


@dataclass(slots=True)
class Ledger:
    """What was paid, while approvals and voids are judged one after the other.

    `accounts` and `paid` are what is stored, of the advocates and spans that were asked for before; what is missing is
    asked for, and counts as nothing meanwhile. `changes` and `buckets` are what has to be stored.
    """

    accounts: Mapping[str, Account] = field(default_factory=dict[str, Account])
    paid: Mapping[Span, Paid] = field(default_factory=dict[Span, Paid])
    missing_accounts: set[str] = field(default_factory=set[str])
    missing_spans: set[Span] = field(default_factory=set[Span])
    changes: dict[str, "Change"] = field(default_factory=dict[str, "Change"])
    buckets: dict[datetime, Paid] = field(default_factory=dict[datetime, Paid])
    _rewarded: dict[str, list[tuple[datetime, int]]] = field(default_factory=dict[str, list[tuple[datetime, int]]])
    """The points of the rewards by now, by advocate, and of the program."""
    _running: dict[str, dict[Span, Paid]] = field(default_factory=dict[str, dict[Span, Paid]])
    """What is paid by now, by advocate or program and span."""

    def approve(self, program: Program, advocate_id: str, at: datetime) -> Reward:
        """Reward an approval of an instant."""
        spans = [(cap, span(cap, at, program.zone, advocate_id)) for cap in program.caps]
        reward = cut(program, [(cap, self._paid_in(span)) for cap, span in spans])
        reward = self._with_milestones(program, advocate_id, reward)
        both = reward.advocate + reward.friend
        self._count(advocate_id, at, reward.advocate)
        self._count(PROGRAM, at, both)
        if both:
            start = bucket(at)
            self.buckets[start] = self.buckets.get(start, Paid()).plus(both)
        change = self.changes.setdefault(advocate_id, Change())
        change.approved += 1
        change.paid = change.paid.plus(reward.advocate)
        change.added |= set(reward.milestones)
        return reward

    def void(self, advocate_id: str, milestones: Iterable[int]) -> None:
        """Take an approval back: what was paid stays paid for caps, its milestones can be paid again."""
        change = self.changes.setdefault(advocate_id, Change())
        change.approved -= 1
        for count in milestones:
            if count in change.added:
                change.added.discard(count)
            else:
                change.removed.add(count)

    def _with_milestones(self, program: Program, advocate_id: str, reward: Reward) -> Reward:
        if not program.milestones:
            return reward
        stored = self.accounts.get(advocate_id)
        if stored is None:
            self.missing_accounts.add(advocate_id)
            stored = Account()
        change = self.changes.get(advocate_id, Change())
        approved = stored.approved + change.approved + 1
        carried = stored.milestones - change.removed | change.added
        reached = [own for own in program.milestones if own.count == approved and own.count not in carried]
        return reward._replace(
            milestones=tuple(own.count for own in reached), milestone_points=sum(own.points for own in reached)
        )

    def _paid_in(self, wanted: Span) -> Paid:
        running = self._running.setdefault(wanted.advocate_id, {})
        if wanted not in running:
            paid = self.paid.get(wanted)
            if paid is None:
                self.missing_spans.add(wanted)
                paid = Paid()
            for at, points in self._rewarded.get(wanted.advocate_id, ()):
                paid = paid.plus(points) if wanted.start <= at < wanted.end else paid
            running[wanted] = paid
        return running[wanted]

    def _count(self, owner: str, at: datetime, points: int) -> None:
        self._rewarded.setdefault(owner, []).append((at, points))
        running = self._running.get(owner, {})
        for own, paid in running.items():
            if own.start <= at < own.end:
                running[own] = paid.plus(points)


@dataclass(slots=True)
class Change:
    """The change of an advocate's account: numbers to add, and milestones that are paid or free again."""

    approved: int = 0
    paid: Paid = field(default_factory=Paid)
    added: set[int] = field(default_factory=set[int])
    removed: set[int] = field(default_factory=set[int])
