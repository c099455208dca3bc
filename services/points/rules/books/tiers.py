"""A customer's timeline of tiers, and the tier that an event is judged by."""

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
    """If the customer entered it from below: the number of times so far (see rises.py)."""


class Standing(NamedTuple):
    """The tier that an event is judged by (None before the first promotion), and its multiplier."""

    tier: str | None = None
    multiplier: str = ONE


NEWCOMER: Final = Standing()


def entries_before(timeline: Sequence[TierEntry], moment: datetime) -> Sequence[TierEntry]:
    """The entries of a timeline strictly before an instant."""
    return timeline[: bisect_left(timeline, moment, key=lambda entry: entry.effective_at)]


def standing_before(timeline: Sequence[TierEntry], moment: datetime) -> Standing:
    """The tier in force strictly before an instant: the purchase that lifts a customer earns at the old tier."""
    index = bisect_left(timeline, moment, key=lambda entry: entry.effective_at)
    return Standing(timeline[index - 1].tier, timeline[index - 1].multiplier) if index else NEWCOMER


class Span(NamedTuple):
    """The time after an instant, up to and including another one."""

    after: datetime
    until: datetime


SINCE_EVER: Final = datetime.min.replace(tzinfo=UTC)
FOR_EVER: Final = datetime.max.replace(tzinfo=UTC)


def changed(old: Sequence[TierEntry], new: Sequence[TierEntry]) -> list[Span]:
    """The spans of time in which two timelines judge an event by different tiers, in their order."""
    starts = sorted({entry.effective_at for entry in (*old, *new)})
    spans: list[Span] = []
    for start, end in pairwise([*starts, FOR_EVER]):
        if _standing_after(old, start) != _standing_after(new, start):
            if spans and spans[-1].until == start:
                start = spans.pop().after  # noqa: PLW2901 joined with the span before
            spans.append(Span(start, end))
    return spans


def _standing_after(timeline: Sequence[TierEntry], moment: datetime) -> Standing:
    index = bisect_right(timeline, moment, key=lambda entry: entry.effective_at)
    return Standing(timeline[index - 1].tier, timeline[index - 1].multiplier) if index else NEWCOMER


def united(spans: Iterable[Span]) -> list[Span]:
    """The same time as spans that neither overlap nor touch, in their order."""
    merged: list[Span] = []
    for span in sorted(spans):
        if merged and span.after <= merged[-1].until:
            merged[-1] = Span(merged[-1].after, max(merged[-1].until, span.until))
        else:
            merged.append(span)
    return merged


def revised(timeline: Sequence[TierEntry], entries: Sequence[TierEntry], start: datetime) -> tuple[TierEntry, ...]:
    """The timeline after an event whose entries replace it from `start` on.

    Of several entries at one instant the last one counts.
    """
    later = {entry.effective_at: entry for entry in entries}
    return (*entries_before(timeline, start), *(later[moment] for moment in sorted(later)))
