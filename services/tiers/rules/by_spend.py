"""Tiers by spend alone, as customers are judged until every metric counts."""

from fractions import Fraction
from typing import Final

from services.tiers.rules.program.compiled import Program, Tier
from shared.contracts.values import UNITS

_NEVER: Final = 10**18 * UNITS


def needed(tier: Tier) -> Fraction:
    """The least spend that reaches a tier by itself; out of reach where other metrics are needed."""
    least = [together[0].at_least for together in tier.enter if [it.metric for it in together] == ["spend"]]
    return Fraction(min(least, default=_NEVER), UNITS) if tier.rank else Fraction(0)


def reached(program: Program, spend: Fraction) -> Tier:
    """The highest tier that this spend within the window reaches."""
    return next((tier for tier in reversed(program.tiers) if spend >= needed(tier)), program.first)
