"""Limits and multipliers that change nothing."""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Final

from services.points.rules.program.awards import Fixed, Multiplier, PerAmount
from services.points.rules.program.document import Limit, Rule

Doubt = tuple[tuple[str | int, ...], str]
"""A path from a rule to what is doubtful, and a message."""

_WITHIN: Final = {
    "day": {"day", "week", "month", "year", "ever"},
    "week": {"week", "ever"},
    "month": {"month", "year", "ever"},
    "year": {"year", "ever"},
    "ever": {"ever"},
}
"""By period, the periods that always contain it whole."""

_SCOPES: Final = ("customer_sku", "customer", "program")
"""From the narrowest to the widest."""


def idle_limits(rule: Rule) -> Iterator[Doubt]:
    """Limits that never cut anything, or only what another limit of the rule cuts anyway."""
    each = rule.award.points if isinstance(rule.award, Fixed) else None
    for place, limit in enumerate(rule.limits):
        message = _idle_by_itself(limit, each) or _idle_beside(rule.limits, place, each)
        if message is not None:
            yield ("limits", place), message


def _idle_by_itself(limit: Limit, each: int | None) -> str | None:
    if limit.per != "order":
        return None
    if limit.points is None:
        return "a rule gives its points once per order anyway: this limit changes nothing"
    if each is not None and limit.points >= each:
        return f"the rule gives {each} points at a time and never more: this limit changes nothing"
    return None


def _idle_beside(limits: tuple[Limit, ...], place: int, each: int | None) -> str | None:
    limit = limits[place]
    for other_place, other in enumerate(limits):
        is_twin = _comes_first(limit, other, each)
        if other_place != place and _comes_first(other, limit, each) and (other_place < place or not is_twin):
            return f"limit {other_place + 1} of this rule is always reached first, or together with this one"
    return None


def _comes_first(limit: Limit, other: Limit, each: int | None) -> bool:
    """Whether one limit leaves nothing for the other to cut; `each`: the points of every award, if they are fixed."""
    # A limit per order starts at 0 with each order, whatever its scope.
    is_wider = other.per == "order" or (
        limit.per in _WITHIN[other.per] and _SCOPES.index(limit.scope) >= _SCOPES.index(other.scope)
    )
    if not is_wider:
        return False
    if other.count is not None:
        return limit.count is not None and limit.count <= other.count
    most = limit.points if limit.count is None else each and limit.count * each
    return most is not None and most <= (other.points or 0)


def idle_multiplier(rule: Rule, rules: Iterable[Rule]) -> Iterator[Doubt]:
    """A multiplier that adds nothing, by its factor or for want of points to multiply."""
    if not isinstance(rule.award, Multiplier):
        return
    if Decimal(rule.award.factor) == 1:
        yield ("award", "factor"), "a factor of 1 adds nothing"
    groups = [other.exclusive_group for other in rules if isinstance(other.award, PerAmount)]
    if not groups:
        yield ("award",), "there is nothing to multiply: no rule gives points per amount"
    elif rule.exclusive_group is not None and set(groups) == {rule.exclusive_group}:
        yield (
            ("award",),
            "there is nothing to multiply: each rule per amount is in this exclusive group, of which one counts",
        )
