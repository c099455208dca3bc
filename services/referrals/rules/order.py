"""An order of a customer, and the refunds of it, reduced to what a referral depends on."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Self

from shared.contracts.envelope import Event
from shared.contracts.kept import Purchase, Refund, keep
from shared.contracts.shop import Line, PurchaseCompleted, RefundLine

Amounts = Mapping[str, str]
"""The amount of each line id: all that the money kept of an order depends on."""


@dataclass(frozen=True, slots=True)
class Order:
    """An order, with the refunds of it that are known."""

    order_id: str
    source: str
    time: datetime
    purchase: Purchase
    refunds: tuple[Refund, ...] = ()

    @classmethod
    def of(cls, event: Event) -> Self:
        """The order that a purchase event tells of."""
        data = event.data
        assert isinstance(data, PurchaseCompleted)
        return cls(data.order_id, event.source, event.time, Purchase.of(data))

    def refund(self, refund_id: str) -> Refund | None:
        """The refund of that id, if it is known."""
        return next((one for one in self.refunds if one.refund_id == refund_id), None)

    def with_refund(self, refund: Refund) -> Self:
        """The order when one more refund is known."""
        return replace(self, refunds=(*self.refunds, refund))

    def fell_below(self, minimum: Decimal) -> datetime | None:
        """When refunds left less than `minimum` of the order's money; None while it is kept."""
        kept = keep(self.purchase, self.refunds)
        times = {refund.refund_id: refund.time for refund in self.refunds}
        left = kept.total + sum(step.taken for step in kept.refunds)
        for step in kept.refunds:
            left -= step.taken
            if left < minimum:
                return max(times[step.refund_id], self.time)
        return None


def amounts(lines: Iterable[Line | RefundLine]) -> dict[str, str]:
    """The lines reduced to their amounts; those of a refund that share an id add up."""
    reduced: dict[str, str] = {}
    for line in lines:
        known = reduced.get(line.line_id)
        reduced[line.line_id] = line.amount if known is None else str(Decimal(known) + Decimal(line.amount))
    return reduced


def purchase_of(currency: str, total: str, lines: Amounts) -> Purchase:
    """The purchase that was reduced to its amounts: goods and quantities are gone, no amount depends on them."""
    return Purchase(currency, total, tuple(Line(line_id, "-", 0, amount) for line_id, amount in lines.items()))


def refund_lines(lines: Amounts) -> tuple[RefundLine, ...]:
    """The lines of a refund that was reduced to its amounts."""
    return tuple(RefundLine(line_id, 0, amount) for line_id, amount in lines.items())


def is_same_purchase(one: Purchase, other: Purchase) -> bool:
    """Whether two tell of the same money."""
    return (
        one.currency == other.currency
        and Decimal(one.total) == Decimal(other.total)
        and amounts(one.lines) == amounts(other.lines)
    )


def is_same_refund(one: Refund, other: Refund) -> bool:
    """Whether two tell of the same money at the same time."""
    return (
        one.time == other.time
        and one.currency == other.currency
        and Decimal(one.amount) == Decimal(other.amount)
        and amounts(one.lines) == amounts(other.lines)
    )
