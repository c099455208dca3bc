"""The register of the orders that a batch is about: it admits purchases and refunds in the order of the log."""

from collections.abc import Mapping, Sequence
from typing import Final

from shared.contracts.envelope import Event
from shared.contracts.orders import (
    Content,
    Order,
    OrderKey,
    RefundKey,
    Verdict,
    about_order,
    admit_purchase,
    admit_refund,
    content_of_refund,
    key_of,
)
from shared.contracts.outcomes import Refusal, Waiting
from shared.contracts.refunds import Refund
from shared.contracts.shop import PurchaseRefunded


class Register:
    """The orders and refunds of a batch, stored ones and new ones, and the outcomes of its events."""

    def __init__(
        self,
        orders: Mapping[OrderKey, Order],
        refunds: Mapping[RefundKey, Content],
        waiting: Mapping[OrderKey, Sequence[Event]],
    ) -> None:
        """Begin with the stored orders and refunds that the batch names, and refunds that wait for its orders."""
        self.orders: Final = dict(orders)
        self.refusals: Final = list[Refusal]()
        self.repeats = 0
        """The number of repeats with equal content."""
        self.differing_repeats = 0
        self._refunds: Final[dict[RefundKey, Content | Refund]] = dict(refunds)
        self._early: Final = {key: list(events) for key, events in waiting.items()}

    def purchase(self, event: Event) -> list[Refund] | None:
        """Admit a purchase; returns the refunds that waited for its order, None where it has no effect."""
        key = key_of(event)
        if not self._is_new(admit_purchase(event, self.orders.get(key))):
            return None
        self.orders[key] = Order.of(event)
        if key not in self._early:
            return []
        waited = sorted(self._early.pop(key), key=lambda early: (early.time, _refund_id(early)))
        return [refund for early in waited if (refund := self.refund(early)) is not None]

    def refund(self, event: Event) -> Refund | None:
        """Admit a refund; returns it, None where it has no effect (yet)."""
        data = event.data
        assert isinstance(data, PurchaseRefunded)
        key = key_of(event)
        order, refund = self.orders.get(key), Refund.of(data, event.time)
        name = (*key, refund.refund_id)
        recorded = self._refunds.get(name)
        if isinstance(recorded, Refund):
            recorded = content_of_refund(recorded)
        verdict = admit_refund(event, refund, order and order.purchase, recorded)
        if verdict is Verdict.WAITS:
            self._early.setdefault(key, []).append(event)
        elif self._is_new(verdict):
            self._refunds[name] = refund
            return refund
        return None

    def waiting(self) -> list[Waiting]:
        """The refunds that wait for their orders after the batch."""
        return [
            Waiting(about_order(order_id), f"refund/{_refund_id(event)}", event)
            for (_, order_id), events in self._early.items()
            for event in events
        ]

    def _is_new(self, verdict: Verdict | Refusal) -> bool:
        if isinstance(verdict, Refusal):
            self.refusals.append(verdict)
        elif verdict is Verdict.REPEAT:
            self.repeats += 1
        elif verdict is Verdict.DIFFERING_REPEAT:
            self.differing_repeats += 1
        return verdict is Verdict.NEW


def _refund_id(event: Event) -> str:
    assert isinstance(event.data, PurchaseRefunded)
    return event.data.refund_id
