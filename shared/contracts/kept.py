"""What is kept of an order: one pure fold over the set of its refunds, for every service alike.

Refunds count in the order of (time, refund id), whenever they arrive. Amounts are exact
fractions, since a refund without lines lowers every line by the same fraction.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Self

from shared.contracts.reasons import Reason
from shared.contracts.shop import Line, PurchaseCompleted, PurchaseRefunded, RefundLine


@dataclass(frozen=True, slots=True)
class Purchase:
    """An order as bought, reduced to what refunds can touch."""

    currency: str
    total: str
    lines: tuple[Line, ...] = ()

    @classmethod
    def of(cls, data: PurchaseCompleted) -> Self:
        """The part of a purchase event that refunds are held against."""
        return cls(data.currency, data.total, data.lines)


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
        """A refund event, at its time."""
        return cls(data.refund_id, time, data.currency, data.amount, data.lines)


@dataclass(frozen=True, slots=True)
class KeptLine:
    """A line of which something is kept; `amount` is what is kept of its money."""

    line: Line
    amount: Fraction


@dataclass(frozen=True, slots=True)
class Taken:
    """What a refund asked for, and what was there to take."""

    refund_id: str
    asked: Fraction
    taken: Fraction


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of an order after a set of refunds.

    `gone` tells an order of which nothing is kept, not even a free line.
    """

    total: Fraction
    lines: tuple[KeptLine, ...]
    refunds: tuple[Taken, ...]
    gone: bool


def misfit(purchase: Purchase, refund: Refund) -> tuple[Reason, str] | None:
    """Why a refund cannot be of this order, or None when it can."""
    if refund.currency != purchase.currency:
        return Reason.CURRENCY_MISMATCH, f"currency: the order is in {purchase.currency}, not in {refund.currency}"
    if purchase.lines:
        known = {line.line_id for line in purchase.lines}
        for line in refund.lines:
            if line.line_id not in known:
                return Reason.UNKNOWN_LINE, f"lines: the order has no line {line.line_id}"
    return None


def keep(purchase: Purchase, refunds: Iterable[Refund]) -> Kept:
    """What is kept of `purchase` after all of `refunds` (each of which fits it)."""
    order = _Order.of(purchase)
    taken = [order.take(refund) for refund in sorted(refunds, key=lambda one: (one.time, one.refund_id))]
    return Kept(
        total=order.total(),
        lines=tuple(KeptLine(state.line, state.amount) for state in order.lines if not state.gone),
        refunds=tuple(taken),
        gone=order.gone,
    )


@dataclass(slots=True)
class _LineState:
    line: Line
    amount: Fraction
    returned: Decimal
    gone: bool = False

    def lower(self, refund: RefundLine) -> Fraction:
        """Take a refund's line; a free line goes when its quantity has come back."""
        taken = min(Fraction(refund.amount), self.amount)
        free = Decimal(self.line.amount) == 0
        self.amount -= taken
        self.returned += Decimal(refund.quantity)
        back = self.returned >= Decimal(self.line.quantity) if free else self.amount == 0
        self.gone = self.gone or back  # a free line that an earlier refund took stays gone
        return taken


@dataclass(slots=True)
class _Order:
    """The fold's state; `rest` is the money of an order without lines."""

    lines: Sequence[_LineState]
    rest: Fraction
    gone: bool = False

    @classmethod
    def of(cls, purchase: Purchase) -> Self:
        states = [_LineState(line, Fraction(line.amount), Decimal(0)) for line in purchase.lines]
        return cls(states, Fraction(0) if states else Fraction(purchase.total))

    def total(self) -> Fraction:
        return sum((state.amount for state in self.lines), self.rest)

    def take(self, refund: Refund) -> Taken:
        asked = Fraction(refund.amount)
        taken = self._by_line(refund.lines) if refund.lines and self.lines else self._by_fraction(asked)
        return Taken(refund.refund_id, asked, taken)

    def _by_line(self, lines: tuple[RefundLine, ...]) -> Fraction:
        by_id = {state.line.line_id: state for state in self.lines}
        taken = sum((by_id[line.line_id].lower(line) for line in lines), Fraction(0))
        self.gone = all(state.gone for state in self.lines)
        return taken

    def _by_fraction(self, asked: Fraction) -> Fraction:
        whole = self.total()
        if asked >= whole:
            # All the money is taken, and the free lines with it.
            for state in self.lines:
                state.amount, state.gone = Fraction(0), True
            self.rest, self.gone = Fraction(0), True
            return whole
        share = 1 - asked / whole
        for state in self.lines:
            state.amount *= share
        self.rest *= share
        return asked
