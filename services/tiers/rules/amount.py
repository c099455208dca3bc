"""Exact amounts as decimal strings. An amount can be a third of a cent, since refunds by share leave such amounts."""

from fractions import Fraction
from typing import Final

from services.tiers.rules.metrics import Amount
from shared.contracts.values import UNITS

_PLACES: Final = 4
_UNIT: Final = UNITS
"""Amounts of money in the metrics have the same unit: a whole one is its text's digits."""


def reached_text(amount: Fraction) -> str:
    """An amount that was reached, rounded down to 4 decimals, with at least 2: "499.9999", "500.00"."""
    return _text(amount.numerator * _UNIT // amount.denominator)


def missing_text(amount: Fraction) -> str:
    """An amount that is missing, rounded up to 4 decimals: never "0.00" while anything is missing."""
    return _text(-(-amount.numerator * _UNIT // amount.denominator))


def _text(units: int) -> str:
    whole, rest = divmod(units, _UNIT)
    digits = f"{rest:0{_PLACES}d}"
    return f"{whole}.{digits[:2]}{digits[2:].rstrip('0')}"


def reached_value(metric: str, value: Amount) -> str:
    """A value of a metric in its unit: money as a decimal string, rounded down, or a number."""
    if metric != "spend":
        return str(value)
    return _text(value) if isinstance(value, int) else reached_text(value / UNITS)


def missing_value(metric: str, value: Amount) -> str | int:
    """What is missing of a metric in its unit: money as a decimal string, rounded up, or a number."""
    if metric != "spend":
        return int(value)
    return _text(value) if isinstance(value, int) else missing_text(value / UNITS)
