"""A customer's standing, and how events change it: a step each, or judged again where one comes late."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from itertools import chain
from typing import Literal, Self

from services.tiers.rules.admission import Step
from services.tiers.rules.order import Movement, Order
from services.tiers.rules.program import Program, Tier
from services.tiers.rules.timeline import Entry, Timeline, difference, judge, judge_again, last_tier
from services.tiers.rules.window import Window, first_day, start_of

Kind = Literal["promoted", "demoted", "corrected"]


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the judging of a customer stands: all that a step in order needs.

    `judged_at` is the latest instant at which anything happened, `purchased_at` the latest
    purchase's, `spend` what the window that ends with the day of `judged_at` holds, and `last`
    the last entry of the timeline.
    """

    customer_id: str
    judged_at: datetime | None = None
    purchased_at: datetime | None = None
    spend: Fraction = Fraction(0)
    last: Entry | None = None

    def precedes(self, step: Step) -> bool:
        """Whether a step follows all that was judged.

        Judged are the instants of purchases, by what happened up to and including them. So a
        refund is in time while no purchase follows it.
        """
        if step.is_purchase:
            return self.judged_at is None or step.since >= self.judged_at
        return self.purchased_at is None or step.since > self.purchased_at

    def after(self, step: Step) -> "Standing":
        """The standing with the times of a step; spend and timeline as they were."""
        latest, bought = step.order.latest, step.order.at
        return Standing(
            self.customer_id,
            max(latest, self.judged_at or latest),
            max(bought, self.purchased_at or bought),
            self.spend,
            self.last,
        )


@dataclass(frozen=True, slots=True)
class Leaving:
    """A customer's purchases from `start` on, before `end`: they leave the window while steps are folded."""

    customer_id: str
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Rejudging:
    """A customer's purchases from `start` on: a late step is judged with them."""

    customer_id: str
    start: datetime


@dataclass(frozen=True, slots=True)
class Past:
    """What was read of a customer beside the standing.

    `days` is what was kept of each day (an ordinal) that was asked for; the whole `timeline`
    and the `movements`, by order id, are there only for rejudging.
    """

    days: Mapping[int, Fraction] = field(default_factory=dict[int, Fraction])
    timeline: Timeline | None = None
    movements: Mapping[str, Sequence[Movement]] = field(default_factory=dict[str, Sequence[Movement]])

    @classmethod
    def whole(cls, timeline: Timeline, orders: Iterable[Order]) -> Self:
        """What rejudging needs."""
        movements = {order.order_id: order.movements() for order in orders}
        days: dict[int, Fraction] = {}
        for movement in chain.from_iterable(movements.values()):
            days[movement.day] = days.get(movement.day, Fraction(0)) + movement.amount
        return cls(days, timeline, movements)


@dataclass(frozen=True, slots=True)
class Change:
    """The timeline became another one: `timeline` replaces what was known from its first entry on.

    `spend` is that of the window that ends with the day of the last thing that happened.
    """

    kind: Kind
    from_: Tier
    to: Tier
    timeline: Timeline
    spend: Fraction
    step: Step


@dataclass(frozen=True, slots=True)
class Folded:
    """A customer after some steps. `timeline` holds every entry from `changed_at` on; None: it is unchanged."""

    standing: Standing
    changes: tuple[Change, ...]
    changed_at: datetime | None
    timeline: Timeline


def reading(program: Program, standing: Standing, steps: Iterable[Step]) -> Leaving | Rejudging | None:
    """What has to be read before the steps can be folded; None when the standing is enough."""
    before = standing.judged_at
    late: list[datetime] = []
    for step in steps:
        if _is_late(program, standing, standing.last, step):
            late.append(step.since)
        standing = standing.after(step)
    if late:
        # The steps in order before the first late one move the window on from where it was.
        earliest = min(late) if before is None else min(before, *late)
        return Rejudging(standing.customer_id, start_of(first_day(earliest.toordinal())))
    if before is None or standing.judged_at is None:
        return None
    start, end = (start_of(first_day(moment.toordinal())) for moment in (before, standing.judged_at))
    return Leaving(standing.customer_id, start, end) if start < end else None


def fold(program: Program, standing: Standing, past: Past, steps: Iterable[Step]) -> Folded:
    """Apply steps, all of orders in the program's currency, in log order; `past` is what `reading` asked for.

    Each step is judged by itself, so that what is published does not depend on how events were
    cut into batches.
    """
    judge_ = _Judge.of(program, standing, past)
    changes = [change for change in map(judge_.apply, steps) if change is not None]
    return judge_.result(changes)


def replay(program: Program, customer_id: str, orders: Iterable[Order]) -> tuple[Standing, Timeline]:
    """Where all orders of a customer lead, whatever came when; those in other currencies count nothing."""
    counted = [order for order in orders if order.purchase.currency == program.currency]
    if not counted:
        return Standing(customer_id), ()
    window = Window()
    timeline = judge(program, window, (), chain.from_iterable(order.movements() for order in counted))
    judged_at = max(order.latest for order in counted)
    window.move(judged_at.toordinal())
    last = timeline[-1] if timeline else None
    return Standing(customer_id, judged_at, max(order.at for order in counted), window.spend, last), timeline


def _is_late(program: Program, standing: Standing, last: Entry | None, step: Step) -> bool:
    """Whether a step can change what was judged, where the timeline ends with `last`."""
    # A tier once reached stays: after the highest there is nothing to judge.
    is_settled = last is not None and last.tier == program.highest.id and last.effective_at < step.since
    return not is_settled and not standing.precedes(step)


@dataclass(slots=True)
class _Judge:
    program: Program
    standing: Standing
    window: Window
    timeline: Timeline
    movements: dict[str, Sequence[Movement]]

    @classmethod
    def of(cls, program: Program, standing: Standing, past: Past) -> Self:
        last = standing.judged_at.toordinal() if standing.judged_at else 0
        days = {day: amount for day, amount in past.days.items() if day >= first_day(last)}
        tail = (standing.last,) if standing.last else ()
        timeline = tail if past.timeline is None else past.timeline
        return cls(program, standing, Window(standing.spend, last, days), timeline, dict(past.movements))

    def apply(self, step: Step) -> Change | None:
        old = self.timeline
        self.movements[step.order.order_id] = step.order.movements()
        if _is_late(self.program, self.standing, old[-1] if old else None, step):
            self._judge_again(step)
        else:
            self._go_on(step)
        self.standing = self.standing.after(step)
        replaced = difference(self.program, old, self.timeline)
        return self._change(old, replaced, step) if replaced else None

    def result(self, changes: Sequence[Change]) -> Folded:
        before = self.standing
        last = self.timeline[-1] if self.timeline else None
        standing = Standing(before.customer_id, before.judged_at, before.purchased_at, self.window.spend, last)
        changed_at = min((change.timeline[0].effective_at for change in changes), default=None)
        entries = tuple(entry for entry in self.timeline if changed_at and entry.effective_at >= changed_at)
        return Folded(standing, tuple(changes), changed_at, entries)

    def _go_on(self, step: Step) -> None:
        if step.before is None:
            movements = self.movements[step.order.order_id]
        else:
            # Another refund can shift what later ones of the order take: only the sum counts here.
            at = max(step.since, self.standing.judged_at or step.since)
            movements = [Movement(at, step.order.at.toordinal(), step.order.kept - step.before.kept)]
        self.timeline = judge(self.program, self.window, self.timeline, movements)

    def _judge_again(self, step: Step) -> None:
        movements = list(chain.from_iterable(self.movements.values()))
        self.timeline, self.window = judge_again(self.program, self.timeline, movements, step.since)
        # A refund of an order from before the window may be the last thing that happened.
        assert self.standing.judged_at is not None, "nothing is late for a customer without a past"
        self.window.move(self.standing.judged_at.toordinal())

    def _change(self, old: Timeline, replaced: Timeline, step: Step) -> Change:
        from_, to = last_tier(self.program, old), last_tier(self.program, self.timeline)
        kind: Kind = "promoted" if to.rank > from_.rank else "demoted" if to.rank < from_.rank else "corrected"
        return Change(kind, from_, to, replaced, self.window.spend, step)
