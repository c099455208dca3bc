"""An order of a customer, and the refunds of it, reduced to what spend depends on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Self

from shared.contracts.envelope import Event
from shared.contracts.kept import Purchase, Refund, keep
from shared.contracts.shop import Line, PurchaseCompleted, RefundLine

Amounts = Sequence[tuple[str, str]]
"""Lines as pairs of line id and amount: all that the money kept of an order depends on."""


@dataclass(frozen=True, slots=True)
class Movement:
    """Spend that rises (a purchase) or falls (a refund) at an instant.

    `day` is the order's, as a proleptic Gregorian ordinal: what is refunded is taken from the
    day of the purchase.
    """

    at: datetime
    day: int
    amount: Fraction


@dataclass(frozen=True, slots=True)
class Order:
    """An order, with the refunds of it that are known."""

    order_id: str
    source: str
    at: datetime
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

    @property
    def kept(self) -> Fraction:
        """What all known refunds leave of the order's money."""
        return keep(self.purchase, self.refunds).total if self.refunds else Fraction(self.purchase.total)

    @property
    def latest(self) -> datetime:
        """The instant of the last thing that happened to the order."""
        return max((self.at, *(refund.time for refund in self.refunds)))

    def effective_at(self, refund: Refund) -> datetime:
        """When a refund counts: not before the order itself, whatever its clock said."""
        return max(self.at, refund.time)

    def movements(self) -> list[Movement]:
        """The order's part in its customer's spend, in the order of time."""
        day = self.at.toordinal()
        bought = Movement(self.at, day, Fraction(self.purchase.total))
        if not self.refunds:
            return [bought]
        refunds = {refund.refund_id: refund for refund in self.refunds}
        taken = [
            Movement(self.effective_at(refunds[step.refund_id]), day, -step.taken)
            for step in keep(self.purchase, self.refunds).refunds
        ]
        return [bought, *taken]


def amounts(lines: Iterable[Line | RefundLine]) -> list[tuple[str, str]]:
    """The lines as pairs."""
    return [(line.line_id, line.amount) for line in lines]


def purchase_of(currency: str, total: str, pairs: Amounts) -> Purchase:
    """The purchase that was reduced to its pairs; goods and quantities, which no amount depends on, are gone."""
    return Purchase(currency, total, tuple(Line(line_id, "-", 0, amount) for line_id, amount in pairs))


def refund_lines(pairs: Amounts) -> tuple[RefundLine, ...]:
    """The lines of a refund that were reduced to their pairs."""
    return tuple(RefundLine(line_id, 0, amount) for line_id, amount in pairs)


def is_same_order(one: Order, other: Order) -> bool:
    """Whether two tell of the same money at the same time."""
    return (
        one.at == other.at
        and one.purchase.currency == other.purchase.currency
        and Decimal(one.purchase.total) == Decimal(other.purchase.total)
        and amounts(one.purchase.lines) == amounts(other.purchase.lines)
    )


def is_same_refund(one: Refund, other: Refund) -> bool:
    """Whether two tell of the same money at the same time."""
    return (
        one.time == other.time
        and one.currency == other.currency
        and Decimal(one.amount) == Decimal(other.amount)
        and amounts(one.lines) == amounts(other.lines)
    )
