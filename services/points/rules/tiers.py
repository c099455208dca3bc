"""A customer's tiers over time, as last told: which one an event is judged by."""

from bisect import bisect_left
from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

ONE: Final = "1"


class TierEntry(NamedTuple):
    """From `effective_at` on, the customer is in `tier` and orders earn at `multiplier` (a decimal string)."""

    effective_at: datetime
    tier: str
    multiplier: str
    rise: int | None = None
    """Where it is entered from below: the how manieth time (see rises.py)."""


class Standing(NamedTuple):
    """The tier that an event is judged by, None before the first promotion, and its multiplier."""

    tier: str | None = None
    multiplier: str = ONE


NEWCOMER: Final = Standing()


def standing_before(timeline: Sequence[TierEntry], moment: datetime) -> Standing:
    """The tier in force strictly before an instant: the purchase that lifts a tier earns at the old one."""
    index = bisect_left(timeline, moment, key=lambda entry: entry.effective_at)
    return Standing(timeline[index - 1].tier, timeline[index - 1].multiplier) if index else NEWCOMER


def revised(timeline: Sequence[TierEntry], told: Sequence[TierEntry], start: datetime) -> tuple[TierEntry, ...]:
    """The timeline after an event that tells it from `start` on: what was known from there is replaced.

    Of entries at one instant the last one counts.
    """
    later = {entry.effective_at: entry for entry in told}
    before = timeline[: bisect_left(timeline, start, key=lambda entry: entry.effective_at)]
    return (*before, *(later[moment] for moment in sorted(later)))
