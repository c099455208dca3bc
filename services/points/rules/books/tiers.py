"""A customer's tiers over time, as last told: which one an event is judged by."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final, NamedTuple

from services.points.rules.program.judgement import ONE


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


class Span(NamedTuple):
    """What occurred after an instant and up to another one, with it."""

    after: datetime
    until: datetime


SINCE_EVER: Final = datetime.min.replace(tzinfo=UTC)
FOR_EVER: Final = datetime.max.replace(tzinfo=UTC)


def changed(old: Sequence[TierEntry], new: Sequence[TierEntry]) -> list[Span]:
    """The spans of time in which an event is judged otherwise by one timeline than by another, in their order."""
    starts = sorted({entry.effective_at for entry in (*old, *new)})
    spans: list[Span] = []
    for start, end in pairwise([*starts, FOR_EVER]):
        if _standing_after(old, start) != _standing_after(new, start):
            if spans and spans[-1].until == start:
                start = spans.pop().after  # noqa: PLW2901 one span with the one before
            spans.append(Span(start, end))
    return spans


def _standing_after(timeline: Sequence[TierEntry], moment: datetime) -> Standing:
    index = bisect_right(timeline, moment, key=lambda entry: entry.effective_at)
    return Standing(timeline[index - 1].tier, timeline[index - 1].multiplier) if index else NEWCOMER


def united(spans: Iterable[Span]) -> list[Span]:
    """The same time in spans that neither overlap nor touch, in their order."""
    found: list[Span] = []
    for span in sorted(spans):
        if found and span.after <= found[-1].until:
            found[-1] = Span(found[-1].after, max(found[-1].until, span.until))
        else:
            found.append(span)
    return found


def revised(timeline: Sequence[TierEntry], told: Sequence[TierEntry], start: datetime) -> tuple[TierEntry, ...]:
    """The timeline after an event that tells it from `start` on: what was known from there is replaced.

    Of entries at one instant the last one counts.
    """
    later = {entry.effective_at: entry for entry in told}
    before = timeline[: bisect_left(timeline, start, key=lambda entry: entry.effective_at)]
    return (*before, *(later[moment] for moment in sorted(later)))
