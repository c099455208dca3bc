"""Which events have an effect, and what they change of the metrics."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

from services.tiers.rules.counting import About, Counted, CountedKey, Counting, Early, Repeats
from services.tiers.rules.metrics import Change
from services.tiers.rules.orders import bought
from services.tiers.rules.qualifying import EARNED, REVERSED, Qualifying, Reason
from services.tiers.rules.refunding import Refunding
from services.tiers.rules.reversing import Reversing
from services.tiers.rules.unread import QueriedRefunds, RefundQuery, UnreadRefundsError
from shared.contracts.envelope import Event
from shared.contracts.loyalty import ReferralChanged
from shared.contracts.orders import Content, Order, OrderKey, RefundKey, key_of
from shared.contracts.outcomes import Refusal, Waiting
from shared.contracts.refunds import Refund
from shared.contracts.register import Register
from shared.contracts.shop import ActivityPerformed, ReviewPublished, ReviewWithdrawn


class Step(NamedTuple):
    """What an event changes, together with events that waited for it; at least one change."""

    event: Event
    changes: Sequence[Change]


@dataclass(slots=True)
class Admission:
    """The outcome of a batch: the effects of its events, and the rows to write.

    `orders` and `refunds` are the new ones, `refunded` the orders with new refunds. `counted` has the rows of `new`
    and `taken_back` keys, `reasons` the changed states of reasons. Where `unread` or `unread_reasons` has anything,
    that has to be read before the batch can be admitted, and the rest is incomplete (of `unread`, None stands for all
    refunds of the order).
    """

    steps: Sequence[Step]
    orders: Mapping[OrderKey, Order]
    refunds: Sequence[tuple[OrderKey, Refund]]
    refunded: Mapping[OrderKey, Refunding]
    counted: Mapping[CountedKey, Counted]
    new: Sequence[CountedKey]
    taken_back: Sequence[CountedKey]
    reasons: Mapping[About, Reversing]
    refusals: Sequence[Refusal]
    waiting: Sequence[Waiting]
    repeats: int
    differing_repeats: int
    unread: set[tuple[OrderKey, RefundQuery | None]]
    unread_reasons: set[About]

    @property
    def is_complete(self) -> bool:
        """Whether everything that the batch needs was read."""
        return not self.unread and not self.unread_reasons


@dataclass(frozen=True, slots=True)
class Stored:
    """What is stored of what a batch is about.

    `orders` (with the instants from which nothing of them is kept), `refunds`, `counted` and `reasons` are those that
    the batch names; `waiting` are the refunds that wait for its new orders, `early` the other events that wait for
    what is new in it. `read` are other refunds of the orders, read because an admission asked for them.
    """

    orders: Mapping[OrderKey, Order] = field(default_factory=dict[OrderKey, Order])
    gone: Mapping[OrderKey, datetime] = field(default_factory=dict[OrderKey, datetime])
    refunds: Mapping[RefundKey, Content] = field(default_factory=dict[RefundKey, Content])
    waiting: Mapping[OrderKey, Sequence[Event]] = field(default_factory=dict[OrderKey, Sequence[Event]])
    read: Mapping[OrderKey, Sequence[QueriedRefunds]] = field(default_factory=dict[OrderKey, Sequence[QueriedRefunds]])
    counted: Mapping[CountedKey, Counted] = field(default_factory=dict[CountedKey, Counted])
    reasons: Mapping[About, Reason] = field(default_factory=dict[About, Reason])
    early: Mapping[About, Sequence[tuple[str, Event]]] = field(default_factory=dict[About, Sequence[tuple[str, Event]]])


def admit(events: Sequence[Event], stored: Stored) -> Admission:
    """Admit events in log order."""
    admitting = _Admitting(stored)
    steps: list[Step] = []
    for event in events:
        changes = _ADMIT[event.type](admitting, event)
        if changes:
            steps.append(Step(event, changes))
    return admitting.admission(steps)


class _Admitting:
    """The state of admitting a batch."""

    def __init__(self, stored: Stored) -> None:
        self.stored: Final = stored
        self.register: Final = Register(stored.orders, stored.refunds, stored.waiting)
        self.orders: Final = dict[OrderKey, Order]()
        self.refunds: Final = list[tuple[OrderKey, Refund]]()
        self.refunding: Final = dict[OrderKey, Refunding]()
        self.unread: Final = set[tuple[OrderKey, RefundQuery | None]]()
        self.repeats: Final = Repeats()
        self.early: Final = Early({about: list(events) for about, events in stored.early.items()})
        rows = dict(stored.counted)
        reasons = {about: reason.reversing() for about, reason in stored.reasons.items()}
        self.counting: Final = Counting(rows, self.early, self.repeats)
        self.qualifying: Final = Qualifying(rows, reasons, self.early, self.repeats)

    def purchase(self, event: Event) -> Sequence[Change]:
        waited = self.register.purchase(event)
        if waited is None:
            return ()
        key = key_of(event)
        order = self.orders[key] = self.register.orders[key]
        changes = bought(order)
        for refund in waited:
            changes += self._take(key, order, refund)
        return changes

    def refund(self, event: Event) -> Sequence[Change]:
        refund = self.register.refund(event)
        if refund is None:
            return ()
        key = key_of(event)
        return self._take(key, self.register.orders[key], refund)

    def _take(self, key: OrderKey, order: Order, refund: Refund) -> list[Change]:
        self.refunds.append((key, refund))
        try:
            refunding = self.refunding.get(key)
            if refunding is None:
                refunding = Refunding(order, self.stored.gone.get(key), self.stored.read.get(key, ()))
                self.refunding[key] = refunding
            return refunding.add(refund)
        except UnreadRefundsError as error:
            self.unread.update((key, query) for query in error.queries or (None,))
            return []

    def published(self, event: Event) -> Sequence[Change]:
        return self.counting.earn(event, named(event))

    def performed(self, event: Event) -> Sequence[Change]:
        assert isinstance(event.data, ActivityPerformed)
        return self.counting.earn(event, named(event), event.data.activity)

    def taken_back(self, event: Event) -> Sequence[Change]:
        return self.counting.take_back(event, named(event))

    def earned(self, event: Event) -> Sequence[Change]:
        return self.qualifying.earn(event)

    def reversed(self, event: Event) -> Sequence[Change]:
        return self.qualifying.reverse(event)

    def admission(self, steps: Sequence[Step]) -> Admission:
        register, counting, qualifying = self.register, self.counting, self.qualifying
        new = set(counting.new)
        return Admission(
            steps,
            self.orders,
            self.refunds,
            self.refunding,
            counting.rows,
            [*counting.new, *qualifying.new],
            [key for key in counting.changed if key not in new],
            qualifying.changed,
            register.refusals,
            [*register.waiting(), *self.early.waiting()],
            register.repeats + self.repeats.plain,
            register.differing_repeats + self.repeats.differing,
            self.unread,
            qualifying.unread,
        )


def named(event: Event) -> CountedKey:
    """The natural key of the review, referral or activity that an event is about."""
    data = event.data
    if isinstance(data, ReviewPublished | ReviewWithdrawn):
        return data.customer_id, "review", data.review_id
    if isinstance(data, ReferralChanged):
        return data.customer_id, "referral", data.referral_id
    assert isinstance(data, ActivityPerformed)
    return data.customer_id, "activity", data.activity_id


_ADMIT: Final[Mapping[str, Callable[[_Admitting, Event], Sequence[Change]]]] = {
    "shop.purchase.completed.v1": _Admitting.purchase,
    "shop.purchase.refunded.v1": _Admitting.refund,
    "shop.review.published.v1": _Admitting.published,
    "shop.review.withdrawn.v1": _Admitting.taken_back,
    "shop.activity.performed.v1": _Admitting.performed,
    "loyalty.referral.approved.v1": _Admitting.published,
    "loyalty.referral.voided.v1": _Admitting.taken_back,
    EARNED: _Admitting.earned,
    REVERSED: _Admitting.reversed,
}

COUNTED: Final = frozenset(_ADMIT)
"""The types of the events that count."""
