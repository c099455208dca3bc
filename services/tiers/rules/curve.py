"""A curve: the value of a metric over time, stored so that a late change costs the logarithm of the history's length.

A curve is a step function of time: its value at an instant is the sum of all changes up to and including it. The
changes are stored in a tree over time. The root is all of time; a stretch of 2**n microseconds with more than
`MOST_CHANGES` instants is divided into 64 stretches of 2**(n - 6). A divided stretch has the sum of the changes of each
part and its peak (the maximum of the running sum within the part), so that both the value at an instant and the first
instant at which a value is reached are found on one path from the root.

Only the stretches that are needed are read: where one is missing, a method yields its key and continues once the
stretch is present.
"""

from collections import defaultdict
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Final, TypeVar

from shared.contracts.values import UNITS

Amount = int | Fraction
"""An exact amount in ten-thousandths: an integer where possible, else a fraction."""

Key = tuple[int, int]
"""The key of a stretch: `(bits, place)` is from microsecond `place << bits` to before `(place + 1) << bits`."""

T = TypeVar("T")
Reading = Generator[Sequence[Key], None, T]
"""A computation that yields the keys of stretches which it needs in `Curve.stretches`, and returns a `T`."""

MOST_CHANGES: Final = 64
"""A stretch with more instants is divided."""
_STEP: Final = 6
ROOT: Final[Key] = (60, 0)
"""The key of all instants from year 1 to year 9999 and far beyond."""
_UPPER: Final = range(ROOT[0] - _STEP, 36, -_STEP)
"""The upper levels of the tree, at which the history of a customer is in a few stretches."""

_BEGIN: Final = datetime(1, 1, 1, tzinfo=UTC)
_DAY: Final = 86_400_000_000


def amount_of(amount: Fraction) -> Amount:
    """Money as an amount of a curve."""
    return simplest(amount * UNITS)


def money_of(amount: Amount) -> Fraction:
    """An amount of a curve as money."""
    return Fraction(amount) / UNITS


def simplest(amount: Amount) -> Amount:
    """The amount, as an integer where it is one."""
    return amount.numerator if amount.denominator == 1 else amount


def to_microsecond(moment: datetime) -> int:
    """Microseconds since the beginning of year 1, UTC."""
    since = moment - _BEGIN
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def to_datetime(microsecond: int) -> datetime:
    """The instant of a microsecond."""
    return _BEGIN + timedelta(microseconds=microsecond)


def start_of_day(day: int) -> int:
    """The microsecond at which a day (an ordinal, also beyond the calendar) begins."""
    return (day - 1) * _DAY


@dataclass(slots=True)
class Leaf:
    """A stretch that is not divided: its changes by microsecond."""

    changes: dict[int, Amount] = field(default_factory=dict[int, Amount])


@dataclass(slots=True)
class Part:
    """The sum of the changes in a part of a stretch, and its peak; None where it has to be computed from the part."""

    sum: Amount = 0
    peak: Amount | None = None


@dataclass(slots=True)
class Branch:
    """A stretch that is divided: its parts by place."""

    parts: dict[int, Part] = field(default_factory=dict[int, Part])


Stretch = Leaf | Branch


@dataclass(slots=True)
class Curve:
    """The stretches that were read or created, by key, and the keys of those that changed."""

    stretches: dict[Key, Stretch] = field(default_factory=dict[Key, Stretch])
    changed: set[Key] = field(default_factory=set[Key])

    @classmethod
    def empty(cls) -> "Curve":
        """A curve without changes."""
        return cls({ROOT: Leaf()}, {ROOT})

    def read(self, moments: Iterable[int]) -> Reading[None]:
        """Read the stretches that contain these microseconds, level by level."""
        wanted = sorted(set(moments))
        if ROOT not in self.stretches:
            yield [ROOT, *sorted({(bits, at >> bits) for at in wanted for bits in _UPPER})]
        groups: list[tuple[Key, list[int]]] = [(ROOT, wanted)]
        while groups:
            missing = [key for key, _ in groups if key not in self.stretches]
            if missing:
                yield missing
            groups = [group for key, inside in groups for group in self._inside(key, inside)]

    def add(self, at: int, amount: Amount) -> Reading[None]:
        """Change the value from a microsecond on."""
        key = ROOT
        while isinstance(stretch := (yield from self._stretch(key)), Branch):
            self.changed.add(key)
            key = (key[0] - _STEP, at >> key[0] - _STEP)
            if key[1] not in stretch.parts:
                stretch.parts[key[1]] = Part()
                self.stretches[key] = Leaf()
            part = stretch.parts[key[1]]
            part.sum, part.peak = simplest(part.sum + amount), None
        self.changed.add(key)
        stretch.changes[at] = simplest(stretch.changes.get(at, 0) + amount)
        if len(stretch.changes) > MOST_CHANGES:
            self._divide(key, stretch)

    def value(self, at: int) -> Reading[Amount]:
        """The value at a microsecond."""
        key, total = ROOT, 0
        while isinstance(stretch := (yield from self._stretch(key)), Branch):
            key = (key[0] - _STEP, at >> key[0] - _STEP)
            total += sum(part.sum for place, part in stretch.parts.items() if place < key[1])
            if key[1] not in stretch.parts:
                return simplest(total)
        return simplest(total + sum(change for moment, change in stretch.changes.items() if moment <= at))

    def first(self, since: int, least: Amount) -> Reading[int | None]:
        """The first microsecond from `since` on at which the value is at least `least`; None: there is none."""
        return (yield from self._first(ROOT, 0, since, least))

    def settle(self) -> None:
        """Compute all missing peaks, so that every changed stretch can be stored."""
        for key in self.changed:
            stretch = self.stretches[key]
            if isinstance(stretch, Branch):
                for place in stretch.parts:
                    self._peak(key, place)

    def changes(self) -> dict[int, Amount]:
        """All changes by microsecond, without those of zero; every stretch was read."""
        leaves = [stretch for stretch in self.stretches.values() if isinstance(stretch, Leaf)]
        return {at: amount for leaf in leaves for at, amount in leaf.changes.items() if amount}

    def is_sound(self) -> bool:
        """Whether each part is what its stretch knows of it, and none is missing; every stretch was read."""
        parts = {
            (key[0] - _STEP, place): part
            for key, stretch in self.stretches.items()
            if isinstance(stretch, Branch)
            for place, part in stretch.parts.items()
        }
        return {ROOT, *parts} == self.stretches.keys() and all(
            part.sum == self._sum_of(key) and part.peak == self._peak_of(key) for key, part in parts.items()
        )

    def _first(self, key: Key, total: Amount, since: int, least: Amount) -> Reading[int | None]:
        stretch = yield from self._stretch(key)
        if isinstance(stretch, Leaf):
            for moment in sorted(stretch.changes):
                total += stretch.changes[moment]
                if total >= least and moment >= since:
                    return moment
            return None
        bits = key[0] - _STEP
        for place in sorted(stretch.parts):
            if place >= since >> bits and total + self._peak(key, place) >= least:
                reached_at = yield from self._first((bits, place), total, since, least)
                if reached_at is not None:
                    return reached_at
            total += stretch.parts[place].sum
        return None

    def _stretch(self, key: Key) -> Reading[Stretch]:
        if key not in self.stretches:
            yield [key]
        return self.stretches[key]

    def _inside(self, key: Key, moments: Sequence[int]) -> list[tuple[Key, list[int]]]:
        """The keys of the parts of a stretch that contain the moments, each with its moments."""
        stretch = self.stretches[key]
        if isinstance(stretch, Leaf):
            return []
        bits = key[0] - _STEP
        groups: defaultdict[int, list[int]] = defaultdict(list)
        for at in moments:
            groups[at >> bits].append(at)
        return [((bits, place), inside) for place, inside in groups.items() if place in stretch.parts]

    def _divide(self, key: Key, leaf: Leaf) -> None:
        bits = key[0] - _STEP
        leaves: defaultdict[int, Leaf] = defaultdict(Leaf)
        for at, change in leaf.changes.items():
            leaves[at >> bits].changes[at] = change
        self.stretches[key] = Branch(
            {place: Part(simplest(sum(part.changes.values()))) for place, part in leaves.items()}
        )
        for place, part in leaves.items():
            self.stretches[bits, place] = part
            self.changed.add((bits, place))
            if len(part.changes) > MOST_CHANGES:
                self._divide((bits, place), part)

    def _peak(self, key: Key, place: int) -> Amount:
        """The peak of a part. A missing peak means that the part was changed, so its stretches are present."""
        stretch = self.stretches[key]
        assert isinstance(stretch, Branch), "only a stretch that is divided has parts"
        part = stretch.parts[place]
        if part.peak is None:
            part.peak = self._peak_of((key[0] - _STEP, place))
        return part.peak

    def _sum_of(self, key: Key) -> Amount:
        stretch = self.stretches[key]
        if isinstance(stretch, Leaf):
            return sum(stretch.changes.values())
        return sum(part.sum for part in stretch.parts.values())

    def _peak_of(self, key: Key) -> Amount:
        stretch = self.stretches[key]
        total: Amount = 0
        peaks: list[Amount] = []
        if isinstance(stretch, Leaf):
            for moment in sorted(stretch.changes):
                total += stretch.changes[moment]
                peaks.append(total)
        else:
            for place in sorted(stretch.parts):
                peaks.append(total + self._peak(key, place))
                total += stretch.parts[place].sum
        return simplest(max(peaks))
