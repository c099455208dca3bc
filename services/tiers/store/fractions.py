"""Exact amounts as two numeric columns: an amount and its divisor, which is 1 except for thirds of a cent and such."""

from decimal import Decimal
from fractions import Fraction
from typing import Final

from services.tiers.rules.metrics import Amount

_UNIT: Final = 10**4
_ONE: Final = Decimal(1)


def to_columns(amount: Amount) -> tuple[Decimal, Decimal]:
    """The amount and its divisor, which is 1 for every amount of at most 4 decimals."""
    if _UNIT % amount.denominator == 0:
        return Decimal(f"{amount.numerator * (_UNIT // amount.denominator)}E-4"), _ONE
    return Decimal(amount.numerator), Decimal(amount.denominator)


def from_columns(amount: Decimal, divisor: Decimal = _ONE) -> Amount:
    """The amount of two columns: an int where it is whole."""
    numerator, denominator = amount.as_integer_ratio()
    if divisor == _ONE:
        return numerator if denominator == 1 else Fraction(numerator, denominator)
    exact = Fraction(numerator, denominator * int(divisor))
    return exact.numerator if exact.denominator == 1 else exact
