"""A rule in words, as warnings name it to people."""

from typing import Final

from services.points.rules.program.document import Fixed, On, PerAmount, Rule

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
    return f"rule {rule.id} ({_award(rule)})"


def _award(rule: Rule) -> str:
    event = _EVENTS[rule.on]
    match rule.award:
        case Fixed(points=points):
            return f"{_points(points)} for {event}"
        case PerAmount(points=points, amount=amount):
            return f"{_points(points)} per {amount} of {event}"
        case award:
            return f"x {award.factor} on what {event} gives per amount"


def _points(count: int) -> str:
    return f"{count} point" if count == 1 else f"{count} points"
