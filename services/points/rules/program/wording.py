"""A rule in words, as warnings name it."""

from typing import Final

from services.points.rules.program.document import Rule
from services.points.rules.program.values import On

_EVENTS: Final[dict[On, str]] = {
    "purchase": "a purchase",
    "review": "a review",
    "activity": "an activity",
    "survey": "a survey answer",
    "registration": "a registration",
    "referral": "a referral",
    "tier_promotion": "a promotion to a tier",
    "birthday": "a birthday",
}


def name_of(rule: Rule) -> str:
    """A rule by its id and in words: `rule coffee (15 points for a purchase)`."""
    return f"rule {rule.id} ({rule.award.words(_EVENTS[rule.on])})"
