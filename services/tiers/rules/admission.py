"""Which events have an effect: natural keys, refunds that wait for their order, and those that do not fit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from services.tiers.rules.order import Order, is_same_order, is_same_refund
from shared.contracts.envelope import Event
from shared.contracts.kept import Refund, misfit
from shared.contracts.outcomes import Refusal, Waiting
from shared.contracts.reasons import Reason
from shared.contracts.shop import PurchaseCompleted, PurchaseRefunded

Key = tuple[str, str]
"""Customer id and order id: they name an order."""


@dataclass(frozen=True, slots=True)
class Step:
    """What an event makes of an order: `before` (None when it is new) → `order`; different from `since` on."""

    event: Event
    before: Order | None
    order: Order
    since: datetime

    @property
    def is_purchase(self) -> bool:
        """Whether the event brought the order, and not a refund of it."""
        return self.before is None


@dataclass(slots=True)
class Admission:
    """What becomes of the events of a batch; `repeats` and `differing` count natural keys that came again."""

    steps: list[Step] = field(default_factory=list[Step])
    refusals: list[Refusal] = field(default_factory=list[Refusal])
    waiting: list[Waiting] = field(default_factory=list[Waiting])
    repeats: int = 0
    differing: int = 0


def key_of(event: Event) -> Key:
    """The order that an event is about."""
    data = event.data
    assert isinstance(data, (PurchaseCompleted, PurchaseRefunded))
    return event.customer_id, data.order_id


def about(order_id: str) -> str:
    """What a refund that came before its order waits for."""
    return f"order/{order_id}"


def refund_of(event: Event) -> Refund:
    """The refund that a refund event tells of."""
    data = event.data
    assert isinstance(data, PurchaseRefunded)
    return Refund.of(data, event.time)


def admit(events: Sequence[Event], known: Mapping[Key, Order], waiting: Mapping[Key, Sequence[Event]]) -> Admission:
    """Go through events in log order.

    `known` holds the orders that they are about, where there are such; `waiting` the refunds
    that came before the orders that are new here.
    """
    return _Registrar(dict(known), {key: list(refunds) for key, refunds in waiting.items()}).admit(events)


@dataclass(slots=True)
class _Registrar:
    orders: dict[Key, Order]
    early: dict[Key, list[Event]]
    found: Admission = field(default_factory=Admission)

    def admit(self, events: Sequence[Event]) -> Admission:
        for event in events:
            if isinstance(event.data, PurchaseCompleted):
                self._purchase(event)
            else:
                self._refund(event)
        self.found.waiting = [_waiting(event) for refunds in self.early.values() for event in refunds]
        return self.found

    def _purchase(self, event: Event) -> None:
        key = key_of(event)
        order, known = Order.of(event), self.orders.get(key)
        if known is None:
            order = self._with_early(order, self.early.pop(key, []))
            self.orders[key] = order
            self.found.steps.append(Step(event, None, order, order.at))
        elif known.source != order.source:
            error = f"order_id: {order.order_id} of this customer came from {known.source} before"
            self.found.refusals.append(Refusal(event, Reason.ORDER_CONFLICT, error))
        else:
            self._repeat(same=is_same_order(known, order))

    def _with_early(self, order: Order, refunds: Sequence[Event]) -> Order:
        """The order with the refunds that waited for it; those that do not fit are refused now."""
        for event in refunds:
            order = self._with_refund(order, event) or order
        return order

    def _refund(self, event: Event) -> None:
        key = key_of(event)
        order = self.orders.get(key)
        if order is None:
            self.early.setdefault(key, []).append(event)
            return
        after = self._with_refund(order, event)
        if after is not None:
            self.orders[key] = after
            self.found.steps.append(Step(event, order, after, order.effective_at(refund_of(event))))

    def _with_refund(self, order: Order, event: Event) -> Order | None:
        """The order with this refund as well; None where it has no effect."""
        refund = refund_of(event)
        known = order.refund(refund.refund_id)
        if known is not None:
            self._repeat(same=is_same_refund(known, refund))
            return None
        problem = misfit(order.purchase, refund)
        if problem is not None:
            self.found.refusals.append(Refusal(event, *problem))
            return None
        return order.with_refund(refund)

    def _repeat(self, *, same: bool) -> None:
        if same:
            self.found.repeats += 1
        else:
            self.found.differing += 1


def _waiting(event: Event) -> Waiting:
    return Waiting(about(key_of(event)[1]), f"refund/{refund_of(event).refund_id}", event)
