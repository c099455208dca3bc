"""What is missing: the values that the conditions of a tier need, and the nearest way to it."""

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from services.tiers.rules.judging.state import Values
from services.tiers.rules.metrics import Amount
from services.tiers.rules.program.compiled import Condition, ConditionLists


class Need(NamedTuple):
    """A condition with the value that counts, and what is missing of it (0: it holds)."""

    condition: Condition
    value: Amount
    missing: Amount

    @property
    def share(self) -> Fraction:
        """The missing share of the need, from 0 to 1."""
        return Fraction(self.missing) / Fraction(self.condition.at_least)


Way = tuple[Need, ...]
"""One list of conditions."""


def ways(lists: ConditionLists, values: Values) -> tuple[Way, ...]:
    """Each list of conditions with the values that count."""
    return tuple(tuple(_need(condition, values) for condition in way) for way in lists)


def nearest(of: Sequence[Way]) -> Way:
    """What is missing of the way whose worst condition misses the smallest share; the first of equals (T36)."""
    best = of[0] if len(of) == 1 else min(of, key=lambda way: max(need.share for need in way))
    return tuple(need for need in best if need.missing)


def _need(condition: Condition, values: Values) -> Need:
    value = values.get(condition.key, 0)
    return Need(condition, value, max(0, condition.at_least - value))
