"""Exact amounts as two numeric columns: an amount and its divisor, which is 1 except for thirds of a cent and such.

Money is stored in its currency, and counted in ten-thousandths of it.
"""

from decimal import Decimal
from fractions import Fraction
from typing import Final

from services.tiers.rules.metrics import Amount, Metric
from shared.contracts.values import UNITS

_ONE: Final = Decimal(1)
_PLACES: Final = -4


def to_columns(metric: Metric, amount: Amount) -> tuple[Decimal, Decimal]:
    """The amount of a metric and its divisor, which is 1 for every whole one."""
    is_money = metric == "spend"
    if isinstance(amount, int):
        return Decimal(amount).scaleb(_PLACES) if is_money else Decimal(amount), _ONE
    return Decimal(amount.numerator), Decimal(amount.denominator * (UNITS if is_money else 1))


def from_columns(metric: Metric, amount: Decimal, divisor: Decimal = _ONE) -> Amount:
    """The amount of a metric of two columns: an int where it is whole."""
    numerator, denominator = amount.as_integer_ratio()
    if metric == "spend":
        numerator *= UNITS
    if denominator == 1 and divisor == _ONE:
        return numerator
    exact = Fraction(numerator, denominator * int(divisor))
    return exact.numerator if exact.denominator == 1 else exact
