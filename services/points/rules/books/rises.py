"""Rises: the nth time that a customer enters a tier from below, even if its instant changes later.

The award of a promotion belongs to a rise: it is given once for each rise of the timeline.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from services.points.rules.books.tiers import TierEntry
from services.points.rules.program.earning import TIER_PROMOTION
from services.points.rules.program.judgement import ONE

Ladder = Sequence[str]
"""The tiers of a program from the lowest one up."""


class Rise(NamedTuple):
    """The `number`th rise of a customer into a tier."""

    tier: str
    number: int

    @property
    def origin(self) -> str:
        """The origin of its award."""
        return TIER_PROMOTION.origin_of(f"{self.tier}/{self.number}")


def numbered(
    timeline: Sequence[TierEntry],
    start: datetime,
    counted: Mapping[str, int],
    ladder_at: Callable[[datetime], Ladder],
) -> tuple[TierEntry, ...]:
    """The timeline with every rise from `start` on numbered; earlier ones have their numbers.

    `counted` is the number of rises into each tier before the first entry of the timeline, `ladder_at` gives the tiers
    of the program at an instant.
    """
    numbers = dict(counted)
    entries: list[TierEntry] = []
    before: TierEntry | None = None
    for entry in timeline:
        now = entry
        if entry.effective_at >= start:
            is_rise = _is_rise(before, entry, ladder_at(entry.effective_at))
            now = entry._replace(rise=numbers.get(entry.tier, 0) + 1 if is_rise else None)
        if now.rise is not None:
            numbers[now.tier] = now.rise
        entries.append(now)
        before = now
    return tuple(entries)


def rises_from(timeline: Sequence[TierEntry], start: datetime) -> dict[Rise, datetime]:
    """The rises from an instant on, with their instants, in the order of time."""
    return {
        Rise(entry.tier, entry.rise): entry.effective_at
        for entry in timeline
        if entry.rise is not None and entry.effective_at >= start
    }


def _is_rise(before: TierEntry | None, entry: TierEntry, ladder: Ladder) -> bool:
    """Whether an entry's tier is above the one before: by the program's tiers, or by multipliers if it lacks one.

    Before the first entry a customer is in the lowest tier.
    """
    tier = ladder[0] if before is None else before.tier
    if tier in ladder and entry.tier in ladder:
        return ladder.index(entry.tier) > ladder.index(tier)
    return Decimal(entry.multiplier) > Decimal(ONE if before is None else before.multiplier)
