"""A customer's standing, and what steps in order change of it.

A step in order needs only the standing and the orders that leave the window. Late steps are judged on the curve of
spend (see rejudging.py and curve.py).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from itertools import chain
from typing import Final, Literal, Self

from services.tiers.rules.admission import Step
from services.tiers.rules.curve import Curve
from services.tiers.rules.program.compiled import Program, Tier
from services.tiers.rules.spend import SpendChange, changes_of, day_of
from services.tiers.rules.timeline import Entry, Timeline, difference, judge, last_tier
from services.tiers.rules.window import Window, first_day, start_of
from shared.contracts.orders import Order

Kind = Literal["promoted", "demoted", "corrected"]

MOST_LOOSE: Final = 256
"""The maximum number of loose changes of spend of a customer, and of orders that leave the window in one batch."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The state of a customer that a step in order needs.

    `judged_at` is the time of the latest purchase or refund, `purchased_at` that of the latest purchase, `spend` the
    money in the window that ends with the day of `judged_at`, and `last` the last entry of the timeline. The stored
    curve holds the changes of spend up to and including `curve_until` (None: there is no curve); `loose` is the number
    of the others (None: not counted, since the customer is older than the curve).
    """

    customer_id: str
    judged_at: datetime | None = None
    purchased_at: datetime | None = None
    spend: Fraction = Fraction(0)
    last: Entry | None = None
    curve_until: datetime | None = field(default=None, compare=False)
    loose: int | None = field(default=0, compare=False)

    def precedes(self, step: Step) -> bool:
        """Whether a step is in order: it cannot change a judgement that was made.

        The instants of purchases are judged, by everything up to and including them. So a refund is in order as long
        as no purchase follows it.
        """
        if step.is_purchase:
            return self.judged_at is None or step.since >= self.judged_at
        return self.purchased_at is None or step.since > self.purchased_at

    def after(self, step: Step) -> "Standing":
        """The standing with the times of a step; spend, timeline and curve are unchanged."""
        latest, bought = step.latest, step.order.time
        return Standing(
            self.customer_id,
            max(latest, self.judged_at or latest),
            max(bought, self.purchased_at or bought),
            *(self.spend, self.last, self.curve_until, self.loose),
        )


@dataclass(frozen=True, slots=True)
class Leaving:
    """A customer's purchases from `start` to before `end`, which leave the window while steps are folded."""

    customer_id: str
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class TimelineChange:
    """A change of a timeline: `timeline` replaces the old one from its first entry on.

    `spend` is that of the window that ends with the day of the latest purchase or refund.
    """

    kind: Kind
    from_: Tier
    to: Tier
    timeline: Timeline
    spend: Fraction
    step: Step

    @classmethod
    def between(cls, program: Program, old: Timeline, new: Timeline, spend: Fraction, step: Step) -> Self | None:
        """The change that a step makes from one timeline to another; None where they are equal."""
        replaced = difference(program, old, new)
        if not replaced:
            return None
        from_, to = last_tier(program, old), last_tier(program, new)
        kind: Kind = "promoted" if to.rank > from_.rank else "demoted" if to.rank < from_.rank else "corrected"
        return cls(kind, from_, to, replaced, spend, step)


@dataclass(frozen=True, slots=True)
class Folded:
    """A customer after some steps.

    `timeline` has all entries from `changed_at` on; where that is None, the timeline is unchanged. Where `curve` is
    None, the changes of spend stay loose, and `loose` are those of refunds, which are stored apart from the orders.
    """

    standing: Standing
    changes: Sequence[TimelineChange]
    changed_at: datetime | None
    timeline: Timeline
    curve: Curve | None = None
    loose: Sequence[SpendChange] = ()

    @classmethod
    def of(
        cls,
        standing: Standing,
        timeline: Timeline,
        changes: Sequence[TimelineChange],
        unsaved: Curve | Sequence[SpendChange],
    ) -> Self:
        """The customer after `changes`, as far back as which `timeline` reaches, with a curve or new loose changes."""
        changed_at = min((change.timeline[0].effective_at for change in changes), default=None)
        entries = tuple(entry for entry in timeline if changed_at and entry.effective_at >= changed_at)
        curve, loose = (unsaved, ()) if isinstance(unsaved, Curve) else (None, unsaved)
        return cls(standing, changes, changed_at, entries, curve, loose)


def needs_curve(program: Program, standing: Standing, steps: Sequence[Step]) -> bool:
    """Whether steps have to be judged on the curve: one is late, or too many changes of spend would be loose."""
    loose = standing.loose or 0
    for number, step in enumerate(steps):
        if number:
            standing = standing.after(steps[number - 1])
        if _is_late(program, standing, step) or _is_on_curve(standing, step):
            return True
        loose += len(step.spend_changes)
    return standing.loose is not None and loose > MOST_LOOSE


def is_settled(program: Program, last: Entry | None, step: Step) -> bool:
    """Whether a step cannot change the timeline, which reached the highest tier before it with the entry `last`."""
    return last is not None and last.tier == program.highest.id and last.effective_at < step.since


def leaving(standing: Standing, steps: Iterable[Step]) -> Leaving | None:
    """The purchases that leave the window while steps in order are folded; None where there are none."""
    before = standing.judged_at
    if before is None:
        return None
    after = max([before, *(step.latest for step in steps)])
    start, end = (start_of(first_day(moment.toordinal())) for moment in (before, after))
    return Leaving(standing.customer_id, start, end) if start < end else None


def fold(program: Program, standing: Standing, days: Mapping[int, Fraction], steps: Iterable[Step]) -> Folded:
    """Apply steps that are in order, in log order; all are of orders in the program's currency.

    `days` is the money kept of each day (an ordinal) that leaves the window meanwhile. Each step is judged by itself,
    so that the published events do not depend on how the log was cut into batches.
    """
    judged = _InOrder.of(program, standing, days)
    changes = [change for change in map(judged.apply, steps) if change is not None]
    return judged.result(changes)


def loose_of(steps: Iterable[Step]) -> list[SpendChange]:
    """The changes of spend that are stored as loose: those of refunds (those of purchases are in the orders)."""
    return [change for step in steps for change in step.spend_changes[step.is_purchase :]]


def replay(program: Program, customer_id: str, orders: Iterable[Order]) -> tuple[Standing, Timeline]:
    """The standing and timeline that follow from all orders of a customer; orders in other currencies do not count."""
    counted = [order for order in orders if order.purchase.currency == program.currency]
    if not counted:
        return Standing(customer_id), ()
    window = Window()
    spend_changes = list(chain.from_iterable(changes_of(order) for order in counted))
    timeline = judge(program, window, (), spend_changes)
    judged_at = max(change.at for change in spend_changes)
    window.move(judged_at.toordinal())
    last = timeline[-1] if timeline else None
    return Standing(customer_id, judged_at, max(order.time for order in counted), window.spend, last), timeline


def _is_late(program: Program, standing: Standing, step: Step) -> bool:
    """Whether a step can change a judgement that was made."""
    # A tier once reached stays: after the highest one nothing is judged.
    return not is_settled(program, standing.last, step) and not standing.precedes(step)


def _is_on_curve(standing: Standing, step: Step) -> bool:
    """Whether a step changes a part of spend that the stored curve has."""
    return standing.curve_until is not None and step.since <= standing.curve_until


@dataclass(slots=True)
class _InOrder:
    program: Program
    standing: Standing
    window: Window
    timeline: Timeline
    loose: list[SpendChange] = field(default_factory=list[SpendChange])
    count: int = 0

    @classmethod
    def of(cls, program: Program, standing: Standing, days: Mapping[int, Fraction]) -> Self:
        last = standing.judged_at.toordinal() if standing.judged_at else 0
        inside = {day: amount for day, amount in days.items() if day >= first_day(last)}
        timeline = (standing.last,) if standing.last else ()
        return cls(program, standing, Window(standing.spend, last, inside), timeline)

    def apply(self, step: Step) -> TimelineChange | None:
        old = self.timeline
        if step.is_purchase:
            spend_changes = step.spend_changes
            self.loose += spend_changes[1:]
        else:
            # A refund can shift what later refunds of the order take: only the sum counts here.
            at = max(step.since, self.standing.judged_at or step.since)
            taken = sum((change.amount for change in step.spend_changes), Fraction(0))
            spend_changes = [SpendChange(at, day_of(step.order), taken)]
            self.loose += step.spend_changes
        self.count += len(step.spend_changes)
        self.timeline = judge(self.program, self.window, self.timeline, spend_changes)
        self.standing = self.standing.after(step)
        return TimelineChange.between(self.program, old, self.timeline, self.window.spend, step)

    def result(self, changes: Sequence[TimelineChange]) -> Folded:
        before = self.standing
        last = self.timeline[-1] if self.timeline else None
        standing = Standing(
            *(before.customer_id, before.judged_at, before.purchased_at, self.window.spend, last, before.curve_until),
            None if before.loose is None else before.loose + self.count,
        )
        return Folded.of(standing, self.timeline, changes, () if before.loose is None else self.loose)
