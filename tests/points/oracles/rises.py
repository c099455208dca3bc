"""Oracle of promotion awards: after each event about tiers, all rises of the timeline are counted from nothing.

A program's promotion rules: `each` points for every rise, and `gold` points more for a rise into gold, at most
`golden` times per customer.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from typing import Any, NamedTuple

Rise = tuple[str, int]
"""A tier, and the number of times that the customer has entered it from below."""


class Terms(NamedTuple):
    """The tiers from the lowest up and the promotion rules that are in force from an instant on."""

    since: datetime
    tiers: Sequence[str] = ("member", "silver", "gold")
    each: int = 0
    gold: int = 0
    golden: int = 0


@dataclass
class Award:
    """What a rise was given, by the terms in force when it was first known."""

    terms: Terms
    points: int = 0
    uses: int = 0


@dataclass
class Promotions:
    """A customer's timeline, and the awards of its rises."""

    terms: Sequence[Terms]
    timeline: dict[datetime, tuple[str, Fraction]] = field(default_factory=dict)
    awards: dict[Rise, Award] = field(default_factory=dict)
    standing: set[Rise] = field(default_factory=set)

    @property
    def points(self) -> int:
        """The points of all rises that the timeline has."""
        return sum(self.awards[rise].points for rise in self.standing)

    def apply(self, data: Any) -> None:
        """Apply an event with a timeline."""
        self.timeline = {at: entry for at, entry in self.timeline.items() if at < data.effective_at}
        for entry in data.timeline:
            self.timeline[entry.effective_at] = (entry.tier, Fraction(entry.points_multiplier))
        rises = self._rises()
        for lost in self.standing - rises.keys():
            self.awards[lost].points = self.awards[lost].uses = 0
        for rise, at in sorted(rises.items(), key=lambda item: item[1]):
            if rise not in self.standing:
                award = self.awards.setdefault(rise, Award(self._at(at)))
                golden = rise[0] == "gold" and self._golden() < award.terms.golden
                award.uses = int(golden)
                award.points = award.terms.each + award.terms.gold * golden
        self.standing = set(rises)

    def _golden(self) -> int:
        return sum(award.uses for award in self.awards.values())

    def _at(self, moment: datetime) -> Terms:
        return [terms for terms in self.terms if terms.since <= moment][-1]

    def _rises(self) -> dict[Rise, datetime]:
        counts = Counter[str]()
        rises: dict[Rise, datetime] = {}
        before: tuple[datetime, str, Fraction] | None = None
        for at in sorted(self.timeline):
            tier, multiplier = self.timeline[at]
            if self._is_above(at, tier, multiplier, before):
                counts[tier] += 1
                rises[tier, counts[tier]] = at
            before = at, tier, multiplier
        return rises

    def _is_above(
        self, at: datetime, tier: str, multiplier: Fraction, before: tuple[datetime, str, Fraction] | None
    ) -> bool:
        """Whether a tier is higher than the one before: by the lists of tiers, else by the multipliers."""
        now = self._at(at).tiers
        since, lower, factor = before or (at, now[0], Fraction(1))
        then = now if lower in now else self._at(since).tiers
        if tier in now and lower in then:
            return tier != lower and now.index(tier) > then.index(lower)
        return tier != lower and multiplier > factor
