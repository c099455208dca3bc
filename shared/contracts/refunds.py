"""An order and its refunds as values, and what refunds leave of an order."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Self

from shared.contracts.reasons import Reason
from shared.contracts.shop import Line, PurchaseCompleted, PurchaseRefunded, RefundLine


@dataclass(frozen=True, slots=True)
class Purchase:
    """An order as bought, reduced to what refunds depend on."""

    currency: str
    total: str
    lines: Sequence[Line] = ()

    @classmethod
    def of(cls, data: PurchaseCompleted) -> Self:
        """The purchase in an event's data."""
        return cls(data.currency, data.total, data.lines)


Place = tuple[datetime, str]
"""The place of a refund among those of its order: its time and its id."""


@dataclass(frozen=True, slots=True)
class Refund:
    """A refund of an order; `amount` is the money given back."""

    refund_id: str
    time: datetime
    currency: str
    amount: str
    lines: tuple[RefundLine, ...] = ()

    @classmethod
    def of(cls, data: PurchaseRefunded, time: datetime) -> Self:
        """The refund in an event's data, at the event's time."""
        return cls(data.refund_id, time, data.currency, data.amount, data.lines)

    @property
    def place(self) -> Place:
        """Its place among the refunds of its order."""
        return self.time, self.refund_id


def place_of(refund: Refund) -> Place:
    """The place of a refund among those of its order."""
    return refund.place


def place_to_json(place: Place) -> tuple[str, str]:
    """A place as it is stored in JSON."""
    return place[0].isoformat(), place[1]


def place_from_json(stored: Sequence[str]) -> Place:
    """The place that was stored in JSON."""
    return datetime.fromisoformat(stored[0]), stored[1]


def misfit(purchase: Purchase, refund: Refund) -> tuple[Reason, str] | None:
    """The reason why a refund cannot be one of this order; None if it can."""
    if refund.currency != purchase.currency:
        return Reason.CURRENCY_MISMATCH, f"currency: the order is in {purchase.currency}, not in {refund.currency}"
    if refund.lines and purchase.lines:
        line_ids = {line.line_id for line in purchase.lines}
        for line in refund.lines:
            if line.line_id not in line_ids:
                return Reason.UNKNOWN_LINE, f"lines: the order has no line {line.line_id}"
    return None


@dataclass(frozen=True, slots=True)
class KeptLine:
    """A line of which something is kept: `numerator` of its money over the order's `scale`."""

    line: Line
    numerator: int


@dataclass(frozen=True, slots=True)
class Taken:
    """The money that a refund asked for, and the money that it took of what earlier refunds had left."""

    refund_id: str
    asked: Fraction
    taken: Fraction


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of an order after a set of refunds: `numerator` of its money over `scale`.

    `refunds` has what each refund took, in their order; it is empty where only the rest was asked for. `gone` means
    that nothing of the order is kept, not even a free line.
    """

    numerator: int
    scale: int
    lines: tuple[KeptLine, ...]
    refunds: tuple[Taken, ...]
    gone: bool

    @property
    def total(self) -> Fraction:
        """The money kept of the order."""
        return Fraction(self.numerator, self.scale)

    @property
    def amounts(self) -> tuple[Fraction, ...]:
        """The money kept of each line."""
        return tuple(Fraction(line.numerator, self.scale) for line in self.lines)
