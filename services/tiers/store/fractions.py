"""Exact amounts as two numeric columns: an amount and its divisor, which is 1 except for thirds of a cent and such."""

from decimal import Decimal
from fractions import Fraction
from typing import Final

_UNIT: Final = 10**4
_ONE: Final = Decimal(1)


def to_columns(amount: Fraction) -> tuple[Decimal, Decimal]:
    """The amount and its divisor, which is 1 for every amount of at most 4 decimals."""
    if _UNIT % amount.denominator == 0:
        return Decimal(f"{amount.numerator * (_UNIT // amount.denominator)}E-4"), _ONE
    return Decimal(amount.numerator), Decimal(amount.denominator)


def from_columns(amount: Decimal, divisor: Decimal) -> Fraction:
    """The amount of two columns."""
    return Fraction(amount) / Fraction(divisor) if divisor != _ONE else Fraction(amount)
