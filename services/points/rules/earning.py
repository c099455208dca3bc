"""What an order or a review is due: the earning rules, judged on what is known."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from math import floor
from typing import Final, NamedTuple

ENGINE: Final = 1
"""The version of this code's judgements; a receipt names the one that made it."""

BASE: Final = "base"
REVIEW: Final = "review"
TIER: Final = "tier"
REFERRAL: Final = "referral"

NO_RATE: Final = "no_rate"
NOT_VERIFIED: Final = "not_verified_purchase"
SKU_LIMIT: Final = "once per customer and sku"

ONE: Final = "1"


@dataclass(frozen=True, slots=True)
class EarningRules:
    """A version of the rule set: points per whole `amount` of an order in `currency`, and per review."""

    version: int
    currency: str
    points: int
    amount: Decimal
    review_points: int


DEFAULT: Final = EarningRules(version=1, currency="USD", points=1, amount=Decimal("1.00"), review_points=50)
"""In force since ever: 1 point per whole 1.00, 50 points for a review of a verified purchase."""


class RuleLine(NamedTuple):
    """What became of one rule; `limit` names the cap that cut what was requested."""

    rule: str
    matched: bool
    requested: int
    awarded: int
    why: str | None = None
    limit: str | None = None


class Judgement(NamedTuple):
    """What is due: points by rule, the tier's extra apart."""

    rules: tuple[RuleLine, ...]
    multiplier: str
    extra: int

    @property
    def due(self) -> dict[str, int]:
        """Points above 0 by rule, the tier's extra as a rule of its own."""
        due = {line.rule: line.awarded for line in self.rules if line.awarded}
        if self.extra:
            due[TIER] = self.extra
        return due


def judge_order(currency: str, kept: Fraction | Decimal, multiplier: str, rules: EarningRules) -> Judgement:
    """What an order is due on the amount that is kept of it, at a tier's multiplier.

    floor(kept / amount) x points, and on top floor(that x (multiplier - 1)). An order in a currency
    without a rate is due nothing.
    """
    if currency != rules.currency:
        return Judgement((RuleLine(BASE, matched=False, requested=0, awarded=0, why=NO_RATE),), multiplier, 0)
    # Quotients of fractions are exact; a quotient of Decimals would round at 28 digits.
    units = int(kept) if rules.amount == 1 else floor(Fraction(kept) / Fraction(rules.amount))
    return _judge(units * rules.points, multiplier)


@lru_cache(maxsize=4096)
def _judge(base: int, multiplier: str) -> Judgement:
    """Remembered, since most orders come to the same few hundred judgements."""
    extra = 0 if multiplier == ONE else max(0, floor(base * (Fraction(multiplier) - 1)))
    return Judgement((RuleLine(BASE, matched=True, requested=base, awarded=base),), multiplier, extra)


def judge_review(*, verified: bool, sku_was_rewarded: bool, rules: EarningRules) -> RuleLine:
    """What a review is due: once per customer and sku, where the purchase is verified."""
    if not verified:
        return RuleLine(REVIEW, matched=False, requested=0, awarded=0, why=NOT_VERIFIED)
    if sku_was_rewarded:
        return RuleLine(REVIEW, matched=True, requested=rules.review_points, awarded=0, limit=SKU_LIMIT)
    return RuleLine(REVIEW, matched=True, requested=rules.review_points, awarded=rules.review_points)


@dataclass(frozen=True, slots=True)
class TierEntry:
    """From `effective_at` on, orders earn at `multiplier` (a decimal string)."""

    effective_at: datetime
    tier: str
    multiplier: str


def multiplier_before(timeline: Sequence[TierEntry], moment: datetime) -> str:
    """The multiplier in force strictly before an instant: the purchase that lifts a tier earns at the old one."""
    index = bisect_left(timeline, moment, key=lambda entry: entry.effective_at)
    return timeline[index - 1].multiplier if index else ONE


def revised(timeline: Sequence[TierEntry], told: Sequence[TierEntry], start: datetime) -> tuple[TierEntry, ...]:
    """The timeline after an event that tells it from `start` on: what was known from there is replaced."""
    return tuple(entry for entry in timeline if entry.effective_at < start) + tuple(
        sorted(told, key=lambda entry: entry.effective_at)
    )
