"""What is kept of an order: one pure fold over the set of its refunds, for every service alike.

Refunds count in the order of (time, refund id), whenever they arrive. Amounts are exact
fractions, since a refund without lines lowers every line by the same fraction: whole numbers over one
denominator, which cost a tenth of fractions by themselves.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from math import gcd
from typing import Final, Self

from shared.contracts.reasons import Reason
from shared.contracts.shop import Line, PurchaseCompleted, PurchaseRefunded, RefundLine

UNITS: Final = 10_000
"""Money is counted in ten-thousandths: it has at most 4 decimals."""


def units(amount: str) -> int:
    """A decimal string of at most 4 decimals in ten-thousandths."""
    whole, _, part = amount.partition(".")
    return int(whole) * UNITS + (int(part.ljust(4, "0")) if part else 0)


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
    """A line of which something is kept: `numerator` of its money over the order's `scale`."""

    line: Line
    numerator: int


@dataclass(frozen=True, slots=True)
class Taken:
    """What a refund asked for, and what was there to take."""

    refund_id: str
    asked: Fraction
    taken: Fraction


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of an order after a set of refunds: `numerator` of its money over `scale`.

    `gone` tells an order of which nothing is kept, not even a free line.
    """

    numerator: int
    scale: int
    lines: tuple[KeptLine, ...]
    refunds: tuple[Taken, ...]
    gone: bool

    @property
    def total(self) -> Fraction:
        """What is kept of the order's money."""
        return Fraction(self.numerator, self.scale)

    @property
    def amounts(self) -> tuple[Fraction, ...]:
        """What is kept of each line's money."""
        return tuple(Fraction(one.numerator, self.scale) for one in self.lines)


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
        numerator=order.total(),
        scale=order.scale,
        lines=tuple([KeptLine(state.line, state.amount) for state in order.lines if not state.gone]),
        refunds=tuple(taken),
        gone=order.gone,
    )


_NOTHING: Final = Decimal(0)


@dataclass(slots=True)
class _LineState:
    """A line in the fold; `amount` is over the order's scale."""

    line: Line
    amount: int
    returned: Decimal = _NOTHING
    gone: bool = False

    def lower(self, refund: RefundLine, scale: int) -> int:
        """Take a refund's line; a free line goes when its quantity has come back."""
        taken = min(units(refund.amount) * (scale // UNITS), self.amount)
        free = units(self.line.amount) == 0
        self.amount -= taken
        self.returned += Decimal(refund.quantity)
        back = self.returned >= Decimal(self.line.quantity) if free else self.amount == 0
        self.gone = self.gone or back  # a free line that an earlier refund took stays gone
        return taken


@dataclass(slots=True)
class _Order:
    """The fold's state, over `scale` (a multiple of `UNITS`); `rest` is the money of an order without lines."""

    lines: Sequence[_LineState]
    rest: int
    scale: int = UNITS
    gone: bool = False

    @classmethod
    def of(cls, purchase: Purchase) -> Self:
        states = [_LineState(line, units(line.amount)) for line in purchase.lines]
        return cls(states, 0 if states else units(purchase.total))

    def total(self) -> int:
        return sum([state.amount for state in self.lines], self.rest)

    def take(self, refund: Refund) -> Taken:
        asked = units(refund.amount)
        taken = self._by_line(refund.lines) if refund.lines and self.lines else self._by_fraction(asked)
        return Taken(refund.refund_id, Fraction(asked, UNITS), Fraction(taken, self.scale))

    def _by_line(self, lines: tuple[RefundLine, ...]) -> int:
        by_id = {state.line.line_id: state for state in self.lines}
        taken = sum([by_id[line.line_id].lower(line, self.scale) for line in lines])
        self.gone = all(state.gone for state in self.lines)
        return taken

    def _by_fraction(self, asked: int) -> int:
        """Lower all by the same fraction; returns what was taken, over the scale there is afterwards."""
        whole = self.total()
        taken = asked * (self.scale // UNITS)
        if taken >= whole:
            # All the money is taken, and the free lines with it.
            for state in self.lines:
                state.amount, state.gone = 0, True
            self.rest, self.gone = 0, True
            return whole
        common = gcd(whole, taken)
        kept, part = (whole - taken) // common, whole // common
        # What is kept of each is its amount times kept / part: exact once everything is over part times the scale.
        # What the parts before it had in common with this one goes, or a row of refunds would make ever longer numbers.
        amounts = [state.amount * kept for state in self.lines]
        rest, scale, taken = self.rest * kept, self.scale * part, taken * part
        common = gcd(scale // UNITS, rest, taken, *amounts)
        for state, amount in zip(self.lines, amounts, strict=True):
            state.amount = amount // common
        self.rest, self.scale = rest // common, scale // common
        return taken // common
