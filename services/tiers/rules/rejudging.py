"""Judging on the curve of spend: what a late step changes, at a cost that hardly depends on the customer's history.

Not every event updates the curve. Changes of spend are loose until there are `MOST_LOOSE` of them or one is late; then
all of them go onto the curve. A customer with fewer changes has no stored curve: it is made of the loose ones.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from fractions import Fraction
from itertools import chain

from services.tiers.rules.admission import Step
from services.tiers.rules.curve import Amount, Curve, Reading, money_of, to_microsecond
from services.tiers.rules.customer import MOST_LOOSE, Folded, Standing, TimelineChange, is_settled, loose_of
from services.tiers.rules.program.compiled import Program
from services.tiers.rules.spend import SpendChange
from services.tiers.rules.timeline import Timeline, climb
from services.tiers.rules.window import count, on_curve


@dataclass(frozen=True, slots=True)
class Past:
    """What was read of a customer besides the standing: the timeline, the loose changes of spend, and the curve."""

    timeline: Timeline = ()
    loose: Sequence[SpendChange] = ()
    curve: Curve = field(default_factory=Curve.empty)


def rejudge(program: Program, standing: Standing, past: Past, steps: Sequence[Step]) -> Reading[Folded]:
    """Apply steps at any times, in log order, each judged by itself; all are of orders in the program's currency."""
    curve, timeline, changes = past.curve, past.timeline, list[TimelineChange]()
    new = [change for step in steps for change in step.spend_changes]
    yield from curve.read(at for change in chain(past.loose, new) for at, _ in on_curve(change))
    yield from count(curve, past.loose)
    for step in steps:
        yield from count(curve, step.spend_changes)
        standing, old = standing.after(step), timeline
        if not is_settled(program, old[-1] if old else None, step):
            timeline = yield from climb(program, curve, old, step.since)
        if timeline != old:
            spend = yield from _value(curve, standing.judged_at)
            change = TimelineChange.between(program, old, timeline, spend, step)
            assert change is not None, "the timelines differ"
            changes.append(change)
    spend = yield from _value(curve, standing.judged_at)
    standing = replace(standing, spend=spend, last=timeline[-1] if timeline else None)
    return _keep(standing, curve, timeline, changes, steps)


def spend_at(past: Past, moment: datetime) -> Reading[Fraction]:
    """Spend at an instant, from the curve and the loose changes."""
    yield from count(past.curve, past.loose)
    return (yield from _value(past.curve, moment))


def is_whole(past: Past, spend_changes: Iterable[SpendChange]) -> bool:
    """Whether the curve, which was read as a whole, and the loose changes are exactly these changes of spend."""
    sums: defaultdict[int, Amount] = defaultdict(int, past.curve.changes())
    for change in past.loose:
        for at, amount in on_curve(change):
            sums[at] += amount
    for change in spend_changes:
        for at, amount in on_curve(change):
            sums[at] -= amount
    return past.curve.is_sound() and not any(sums.values())


def _keep(
    standing: Standing,
    curve: Curve,
    timeline: Timeline,
    changes: Sequence[TimelineChange],
    steps: Iterable[Step],
) -> Folded:
    steps = list(steps)
    loose = None if standing.loose is None else standing.loose + sum(len(step.spend_changes) for step in steps)
    if standing.curve_until is None and loose is not None and loose <= MOST_LOOSE:
        return Folded.of(replace(standing, loose=loose), timeline, changes, loose_of(steps))
    curve.settle()
    return Folded.of(replace(standing, curve_until=standing.judged_at, loose=0), timeline, changes, curve)


def _value(curve: Curve, moment: datetime | None) -> Reading[Fraction]:
    assert moment is not None, "there was a purchase"
    return money_of((yield from curve.value(to_microsecond(moment))))
