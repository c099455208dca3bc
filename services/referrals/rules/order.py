"""An order of a customer, and the refunds of it, reduced to what a referral depends on."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Self

from shared.contracts.envelope import Event
from shared.contracts.kept import Fold, Purchase, Refund, place_of
from shared.contracts.shop import Line, PurchaseCompleted, RefundLine

Amounts = Mapping[str, str]
"""The amount of each line id: all that the money kept of an order depends on."""


@dataclass(frozen=True, slots=True)
class Order:
    """An order; `refunds` are all that are known of it, None where they were not read."""

    order_id: str
    source: str
    time: datetime
    purchase: Purchase
    refunds: tuple[Refund, ...] | None = ()

    @classmethod
    def of(cls, event: Event) -> Self:
        """The order that a purchase event tells of."""
        data = event.data
        assert isinstance(data, PurchaseCompleted)
        return cls(data.order_id, event.source, event.time, Purchase.of(data))

    def with_refund(self, refund: Refund) -> Self:
        """The order when one more refund is known."""
        return replace(self, refunds=(*self._read(), refund))

    def counts_at(self, refund: Refund) -> datetime:
        """When a refund counts: not before the order itself, whatever its clock said."""
        return max(self.time, refund.time)

    def fold(self) -> Fold:
        """What is kept of the order.

        Raises:
            UnreadRefundsError: the refunds were not read.
        """
        fold = Fold(self.purchase)
        for refund in sorted(self._read(), key=place_of):
            fold.add(refund)
        return fold

    def fell_below(self, minimum: Decimal) -> datetime | None:
        """When refunds left less than `minimum` of the order's money; None while it is kept.

        Raises:
            UnreadRefundsError: the refunds were not read.
        """
        fold = Fold(self.purchase)
        for refund in sorted(self._read(), key=place_of):
            fold.add(refund)
            if fold.total < minimum:
                return self.counts_at(refund)
        return None

    def _read(self) -> tuple[Refund, ...]:
        if self.refunds is None:
            raise UnreadRefundsError(self.order_id)
        return self.refunds


class UnreadRefundsError(LookupError):
    """What becomes of a referral depends on refunds that were not read; the argument is the id of their order."""


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
