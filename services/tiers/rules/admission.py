"""Which events have an effect, and what they change of spend."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from services.tiers.rules.refunding import Refunding
from services.tiers.rules.spend import SpendChange, bought
from services.tiers.rules.unread import QueriedRefunds, RefundQuery, UnreadRefundsError
from shared.contracts.envelope import Event
from shared.contracts.orders import Content, Order, OrderKey, RefundKey, key_of
from shared.contracts.outcomes import Refusal, Waiting
from shared.contracts.refunds import Refund
from shared.contracts.register import Register
from shared.contracts.shop import PurchaseCompleted


@dataclass(frozen=True, slots=True)
class Step:
    """The effect of an event on an order: a new order, with the refunds that waited for it, or a new refund.

    `spend_changes` are those of the event itself first, then those of other refunds that it shifts. Nothing changes
    before `since`, and nothing that the event brings is later than `latest`. `refunds` are the new ones.
    """

    event: Event
    order: Order
    is_purchase: bool
    since: datetime
    latest: datetime
    spend_changes: Sequence[SpendChange]
    refunds: Sequence[Refund]


@dataclass(slots=True)
class Admission:
    """The outcome of a batch: the effects of its events, refusals, refunds that wait, and the number of repeats.

    `refunded` are the orders with new refunds. `unread` are the refunds of orders that have to be read before the
    batch can be admitted (None: all refunds of the order); where it is not empty, the rest is incomplete.
    """

    steps: list[Step] = field(default_factory=list[Step])
    refunded: Mapping[OrderKey, Refunding] = field(default_factory=dict[OrderKey, Refunding])
    refusals: list[Refusal] = field(default_factory=list[Refusal])
    waiting: list[Waiting] = field(default_factory=list[Waiting])
    repeats: int = 0
    differing_repeats: int = 0
    unread: set[tuple[OrderKey, RefundQuery | None]] = field(default_factory=set[tuple[OrderKey, RefundQuery | None]])


@dataclass(frozen=True, slots=True)
class Stored:
    """What is stored of the orders of a batch.

    `orders` and `refunds` are those that the batch names, `waiting` the refunds that came before the new orders of the
    batch. `read` are other refunds of the orders, read because an admission asked for them.
    """

    orders: Mapping[OrderKey, Order] = field(default_factory=dict[OrderKey, Order])
    refunds: Mapping[RefundKey, Content] = field(default_factory=dict[RefundKey, Content])
    waiting: Mapping[OrderKey, Sequence[Event]] = field(default_factory=dict[OrderKey, Sequence[Event]])
    read: Mapping[OrderKey, Sequence[QueriedRefunds]] = field(default_factory=dict[OrderKey, Sequence[QueriedRefunds]])


def admit(events: Sequence[Event], stored: Stored) -> Admission:
    """Admit purchases and refunds in log order."""
    register = Register(stored.orders, stored.refunds, stored.waiting)
    effects = _Effects(stored.read)
    for event in events:
        if isinstance(event.data, PurchaseCompleted):
            waited = register.purchase(event)
            if waited is not None:
                effects.add_order(event, register.orders[key_of(event)], waited)
        else:
            refund = register.refund(event)
            if refund is not None:
                effects.add_refund(event, register.orders[key_of(event)], refund)
    admission = effects.admission
    admission.refunded = effects.refunding
    admission.refusals, admission.waiting = register.refusals, register.waiting()
    admission.repeats, admission.differing_repeats = register.repeats, register.differing_repeats
    return admission


@dataclass(slots=True)
class _Effects:
    read: Mapping[OrderKey, Sequence[QueriedRefunds]]
    refunding: dict[OrderKey, Refunding] = field(default_factory=dict[OrderKey, Refunding])
    admission: Admission = field(default_factory=Admission)

    def add_order(self, event: Event, order: Order, waited: Sequence[Refund]) -> None:
        spend_changes = [bought(order)]
        latest = order.time
        for refund in waited:
            spend_changes += self._take(key_of(event), order, refund)
            latest = max(latest, refund.time)
        self.admission.steps.append(Step(event, order, True, order.time, latest, spend_changes, waited))

    def add_refund(self, event: Event, order: Order, refund: Refund) -> None:
        spend_changes = self._take(key_of(event), order, refund)
        since = order.effective_at(refund)
        self.admission.steps.append(Step(event, order, False, since, since, spend_changes, (refund,)))

    def _take(self, key: OrderKey, order: Order, refund: Refund) -> list[SpendChange]:
        try:
            refunding = self.refunding.get(key)
            if refunding is None:
                refunding = self.refunding[key] = Refunding(order, self.read.get(key, ()))
            return refunding.add(refund)
        except UnreadRefundsError as error:
            self.admission.unread.update((key, query) for query in error.queries or (None,))
            return []
