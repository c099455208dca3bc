"""Which events have an effect: natural keys, refunds that wait for their order, and those that do not fit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from services.tiers.rules.order import Movement, Order, is_same_order, is_same_refund
from services.tiers.rules.refunding import Read, Reading, Refunding, UnreadRefundsError
from shared.contracts.envelope import Event
from shared.contracts.kept import Refund, misfit
from shared.contracts.outcomes import Refusal, Waiting
from shared.contracts.reasons import Reason
from shared.contracts.shop import PurchaseCompleted, PurchaseRefunded

Key = tuple[str, str]
"""Customer id and order id: they name an order."""

RefundKey = tuple[str, str, str]
"""Customer id, order id and refund id: they name a refund."""


@dataclass(frozen=True, slots=True)
class Step:
    """What an event makes of an order: a new one, with the refunds that waited for it, or one more refund.

    `movements` are what it adds to the customer's spend, the event's own first; nothing is different before
    `since`, and `latest` is the latest instant that the event brings. `refunds` are new ones.
    """

    event: Event
    order: Order
    is_purchase: bool
    since: datetime
    latest: datetime
    movements: Sequence[Movement]
    refunds: Sequence[Refund]


@dataclass(slots=True)
class Admission:
    """What becomes of the events of a batch; `repeats` and `differing` count natural keys that came again.

    `refunded` are the orders that refunds were added to. `unread` are orders of which refunds have to be read
    before the events can be admitted (None: all of them): where there are such, nothing else here counts.
    """

    steps: list[Step] = field(default_factory=list[Step])
    refunded: Mapping[Key, Refunding] = field(default_factory=dict[Key, Refunding])
    refusals: list[Refusal] = field(default_factory=list[Refusal])
    waiting: list[Waiting] = field(default_factory=list[Waiting])
    repeats: int = 0
    differing: int = 0
    unread: set[tuple[Key, Reading | None]] = field(default_factory=set[tuple[Key, Reading | None]])


@dataclass(frozen=True, slots=True)
class Known:
    """What is stored of what a batch is about.

    `orders` are those that it names, `refunds` the refunds that it names, and `waiting` those that came
    before the orders that are new in it. `read` are refunds of orders that had to be read besides.
    """

    orders: Mapping[Key, Order] = field(default_factory=dict[Key, Order])
    refunds: Mapping[RefundKey, Refund] = field(default_factory=dict[RefundKey, Refund])
    waiting: Mapping[Key, Sequence[Event]] = field(default_factory=dict[Key, Sequence[Event]])
    read: Mapping[Key, Sequence[Read]] = field(default_factory=dict[Key, Sequence[Read]])


def key_of(event: Event) -> Key:
    """The order that an event is about."""
    data = event.data
    assert isinstance(data, (PurchaseCompleted, PurchaseRefunded))
    return event.customer_id, data.order_id


def about(order_id: str) -> str:
    """What a refund that came before its order waits for."""
    return f"order/{order_id}"


def refund_of(event: Event) -> Refund:
    """The refund that a refund event announces."""
    data = event.data
    assert isinstance(data, PurchaseRefunded)
    return Refund.of(data, event.time)


def admit(events: Sequence[Event], known: Known) -> Admission:
    """Go through events in log order."""
    early = {key: list(refunds) for key, refunds in known.waiting.items()}
    return _Registrar(dict(known.orders), dict(known.refunds), early, known.read).admit(events)


@dataclass(slots=True)
class _Registrar:
    orders: dict[Key, Order]
    refunds: dict[RefundKey, Refund]
    early: dict[Key, list[Event]]
    read: Mapping[Key, Sequence[Read]]
    refunding: dict[Key, Refunding] = field(default_factory=dict[Key, Refunding])
    found: Admission = field(default_factory=Admission)

    def admit(self, events: Sequence[Event]) -> Admission:
        for event in events:
            if isinstance(event.data, PurchaseCompleted):
                self._purchase(event)
            else:
                self._refund(event)
        self.found.refunded = self.refunding
        self.found.waiting = [_waiting(event) for refunds in self.early.values() for event in refunds]
        return self.found

    def _purchase(self, event: Event) -> None:
        key = key_of(event)
        order, known = Order.of(event), self.orders.get(key)
        if known is None:
            self.orders[key] = order
            self._enter(event, order, self.early.pop(key, []))
        elif known.source != order.source:
            error = f"order_id: {order.order_id} of this customer came from {known.source} before"
            self.found.refusals.append(Refusal(event, Reason.ORDER_CONFLICT, error))
        else:
            self._repeat(same=is_same_order(known, order))

    def _enter(self, event: Event, order: Order, early: Sequence[Event]) -> None:
        """Add a new order with the refunds that waited for it; those that do not fit are refused now."""
        movements = [Movement(order.at, order.day, order.total)]
        if not early:
            self.found.steps.append(Step(event, order, True, order.at, order.at, movements, ()))
            return
        refunds: list[Refund] = []
        # The first of one id stands, and they count in the order of time.
        fitting = [refund for one in early if (refund := self._new_refund(one, order)) is not None]
        for refund in sorted(fitting, key=lambda one: one.place):
            movements += self._take(key_of(event), order, refund)
            refunds.append(refund)
        latest = max([order.at, *(refund.time for refund in refunds)])
        self.found.steps.append(Step(event, order, True, order.at, latest, movements, refunds))

    def _refund(self, event: Event) -> None:
        key = key_of(event)
        order = self.orders.get(key)
        if order is None:
            self.early.setdefault(key, []).append(event)
            return
        refund = self._new_refund(event, order)
        if refund is not None:
            movements = self._take(key, order, refund)
            since = order.effective_at(refund)
            self.found.steps.append(Step(event, order, False, since, since, movements, (refund,)))

    def _new_refund(self, event: Event, order: Order) -> Refund | None:
        """The refund that an event announces, known from now on; None where it has no effect."""
        refund = refund_of(event)
        name = (event.customer_id, order.order_id, refund.refund_id)
        known = self.refunds.get(name)
        if known is not None:
            self._repeat(same=is_same_refund(known, refund))
            return None
        problem = misfit(order.purchase, refund)
        if problem is not None:
            self.found.refusals.append(Refusal(event, *problem))
            return None
        self.refunds[name] = refund
        return refund

    def _take(self, key: Key, order: Order, refund: Refund) -> list[Movement]:
        try:
            refunding = self.refunding.get(key)
            if refunding is None:
                refunding = self.refunding[key] = Refunding(order, self.read.get(key, ()))
            return refunding.add(refund)
        except UnreadRefundsError as error:
            self.found.unread.update((key, reading) for reading in error.readings or (None,))
            return []

    def _repeat(self, *, same: bool) -> None:
        if same:
            self.found.repeats += 1
        else:
            self.found.differing += 1


def _waiting(event: Event) -> Waiting:
    return Waiting(about(key_of(event)[1]), f"refund/{refund_of(event).refund_id}", event)
