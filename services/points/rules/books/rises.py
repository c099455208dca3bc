"""Rises: the nth time that a customer enters a tier from below, even if its instant changes later.

The award of a promotion belongs to a rise: it is given once for each rise of the timeline. Tiers are ordered by the
field `tiers` of the earning rules.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from services.points.rules.books.tiers import TierEntry
from services.points.rules.program.earning import TIER_PROMOTION
from services.points.rules.program.judgement import ONE

Ladder = Sequence[str]
"""The tiers of a program from the lowest one up."""

LadderAt = Callable[[datetime], Ladder]
"""The tiers of the rules in force at an instant."""


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
    ladder_at: LadderAt,
) -> tuple[TierEntry, ...]:
    """The timeline with every rise from `start` on numbered; earlier ones have their numbers.

    `counted` is the number of rises into each tier before the first entry of the timeline. `ladder_at` is asked for the
    instants of the entries from `start` on, and of the one before them.
    """
    numbers = dict(counted)
    entries: list[TierEntry] = []
    before: TierEntry | None = None
    for entry in timeline:
        now = entry
        if entry.effective_at >= start:
            is_rise = _is_rise(before, entry, ladder_at)
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


def unlisted(entries: Iterable[TierEntry], ladder_at: LadderAt) -> set[str]:
    """The tiers of entries that the rules in force at their instants do not list."""
    return {entry.tier for entry in entries if entry.tier not in ladder_at(entry.effective_at)}


def _is_rise(before: TierEntry | None, entry: TierEntry, ladder_at: LadderAt) -> bool:
    """Whether an entry's tier is above the one before; before the first entry a customer is in the lowest tier.

    Where the rules of its instant list only the entry's tier, the one before has its place in the rules of its own
    instant: a new program may replace tiers. Where a tier is not listed, the multipliers decide.
    """
    ladder = ladder_at(entry.effective_at)
    if before is None:
        before = TierEntry(entry.effective_at, ladder[0], ONE)
    if entry.tier == before.tier:
        return False
    if entry.tier in ladder:
        for earlier in (ladder, ladder_at(before.effective_at)):
            if before.tier in earlier:
                return ladder.index(entry.tier) > earlier.index(before.tier)
    return Decimal(entry.multiplier) > Decimal(before.multiplier)
