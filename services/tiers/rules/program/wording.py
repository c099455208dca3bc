"""Tiers and conditions in words, as warnings name them."""

from collections.abc import Iterable
from typing import Final

from services.tiers.rules.program.document import (
    ActivityCondition,
    AnyCondition,
    Conditions,
    SpendCondition,
    TierDocument,
)

_LONGEST: Final = 200

_COUNTS: Final = {
    "orders": ("order", "orders"),
    "points": ("point", "points"),
    "reviews": ("review", "reviews"),
    "referrals": ("referral", "referrals"),
}


def name_of(tier: TierDocument, currency: str) -> str:
    """A tier by its id and in words: `tier silver (500 USD spent, or 10 orders and 3 reviews)`."""
    words = in_words(tier.enter or (), currency)
    return f"tier {tier.id} ({words})" if words else f"tier {tier.id}"


def in_words(conditions: Conditions, currency: str) -> str:
    """Lists of conditions in words."""
    return _cut(", or ".join(list_in_words(together, currency) for together in conditions))


def list_in_words(together: Iterable[AnyCondition], currency: str) -> str:
    """A list of conditions in words."""
    return _cut(" and ".join(_condition(condition, currency) for condition in together))


def _condition(condition: AnyCondition, currency: str) -> str:
    if isinstance(condition, SpendCondition):
        return f"{condition.at_least} {currency} spent"
    if isinstance(condition, ActivityCondition):
        name = "activity" if condition.at_least == 1 else "activities"
        return f"{condition.at_least} {name}" + ("" if condition.activity is None else f" {condition.activity}")
    return f"{condition.at_least} {_COUNTS[condition.metric][condition.at_least != 1]}"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
