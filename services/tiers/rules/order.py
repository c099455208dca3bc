"""An order of a customer and its refunds, reduced to what spend depends on."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Self

from shared.contracts.envelope import Event
from shared.contracts.kept import Fold, Purchase, Refund, place_of
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
    """An order as bought, with what is stored of its refunds.

    `folded` is the state of a `Refunding`; None where it was stored before there were such. `refunds` are all
    refunds that are known, where they were read.
    """

    order_id: str
    source: str
    at: datetime
    purchase: Purchase
    folded: Mapping[str, Any] | None = None
    refunds: tuple[Refund, ...] | None = None

    @classmethod
    def of(cls, event: Event) -> Self:
        """The order that a purchase event announces; no refund of it is known."""
        data = event.data
        assert isinstance(data, PurchaseCompleted)
        return cls(data.order_id, event.source, event.time, Purchase.of(data), refunds=())

    @property
    def day(self) -> int:
        """The day of the order, as an ordinal."""
        return self.at.toordinal()

    @property
    def total(self) -> Fraction:
        """The money of the order as bought."""
        return Fraction(self.purchase.total)

    @property
    def kept(self) -> Fraction:
        """What the refunds, which were read, leave of the money."""
        return self.total - sum(takings(self.purchase, self.refunds or ()).values())

    def effective_at(self, refund: Refund) -> datetime:
        """When a refund counts: not before the order itself, whatever its clock said."""
        return max(self.at, refund.time)

    def movements(self) -> list[Movement]:
        """The order's part in its customer's spend, in the order of time; `refunds` were read."""
        refunds = sorted(self.refunds or (), key=place_of)
        bought = Movement(self.at, self.day, self.total)
        return [bought, *(Movement(self.effective_at(one), self.day, -taken) for one, taken in self._taken(refunds))]

    def _taken(self, refunds: Sequence[Refund]) -> Iterable[tuple[Refund, Fraction]]:
        if refunds:
            yield from zip(refunds, takings(self.purchase, refunds).values(), strict=True)


def takings(purchase: Purchase, refunds: Iterable[Refund]) -> dict[str, Fraction]:
    """What each refund takes of what is kept until then, by refund id, in the order in which they count."""
    fold = Fold(purchase)
    taken: dict[str, Fraction] = {}
    left = fold.total
    for refund in sorted(refunds, key=place_of):
        took = fold.add(refund).taken
        # What is lost to rounding where lines became very many parts (see `Fold`) goes with the last of the money.
        took = left if fold.gone else took
        taken[refund.refund_id] = took
        left -= took
    return taken


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
