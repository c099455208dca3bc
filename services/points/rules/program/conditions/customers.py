"""Conditions on the customer."""

from typing import Literal

from services.points.rules.program.conditions.condition import LintContext, Terms, Test, ValueIn
from services.points.rules.program.extents import Extent, is_empty, meet


class TierIn(ValueIn):
    """The customer is in one of these tiers before the event; at a promotion, the new tier is one of them."""

    looks_at = "tier"
    noun = "tier"

    kind: Literal["tier_in"]

    def test(self, terms: Terms) -> Test:
        values, lowest = frozenset(self.values), terms.tiers[0]
        return lambda facts, _: (facts.tier or lowest) in values

    @classmethod
    def possible(cls, terms: Terms) -> Extent:
        return frozenset(terms.tiers)

    def doubt(self, context: LintContext) -> str | None:
        if is_empty(meet(self.extent(context.terms), self.possible(context.terms))):
            return "none of these tiers is among the program's: the rule never matches"
        return None


CustomerCondition = TierIn
