"""Conditions on customers at their edges.

Planted and caught here: a newcomer in no tier; the tier at the order's instant, not before it; a promotion judged at
the old tier.
"""

import pytest

from services.points.rules.books.tiers import Standing
from tests.points.conditions.matching import Example, only, why, why_not
from tests.points.shop import hour, purchase, tier
from tests.points.states import SINCE_EVER, apply, moved, new_customers, rulebook
from tests.points.written import is_in

GOLD = is_in("tier", "gold")

EXAMPLES = [
    Example(GOLD, "purchase", {"standing": Standing("gold", "1")}, {"standing": Standing("silver", "1")}),
    Example(GOLD, "birthday", {"tier": "gold"}, {}),
]


@pytest.mark.parametrize(
    "standing, values, expected",
    [
        (None, ["member"], None),
        (None, ["silver", "gold"], "tier_in"),
        (Standing("silver", "1"), ["silver"], None),
        (Standing("silver", "1"), ["member"], "tier_in"),
        (Standing("member", "1"), ["member", "gold"], None),
        (Standing("platinum", "1"), ["member", "silver", "gold"], "tier_in"),
    ],
)
def test_a_newcomer_is_in_the_lowest_tier(standing: Standing | None, values: list[str], expected: str | None):
    condition, current = is_in("tier", *values), standing and standing.tier
    assert why(only(condition), standing=standing) == expected
    assert why_not(only(condition, on="review"), "review", {}, tier=current) == expected


def test_the_lowest_tier_is_the_first_of_the_document():
    rules = only(is_in("tier", "bronze"), tiers=["bronze", "member"])
    assert why(rules) is None
    assert why(rules, standing=Standing("member", "1")) == "tier_in"


@pytest.mark.parametrize("hours, points", [(-1, 0), (0, 0), (0.001, 10), (5, 10), (5.001, 0)])
def test_a_tier_is_the_one_before_the_order(hours: float, points: int):
    rules = rulebook((SINCE_EVER, only(is_in("tier", "x1.25"))))
    ann = new_customers("ann")
    apply(ann, tier([(hour(0), "1.25"), (hour(5), "1.5")]), rules=rules)
    assert moved(apply(ann, purchase("1", "100.00", hour(hours)), rules=rules)) == [("earned", points)]


def test_at_a_promotion_the_tier_is_the_new_one():
    rules = rulebook((SINCE_EVER, only(is_in("tier", "x2"), on="tier_promotion")))
    ann = new_customers("ann")
    assert moved(apply(ann, tier([(hour(0), "1.25")]), rules=rules)) == [("earned", 0)]
    assert moved(apply(ann, tier([(hour(5), "2")]), rules=rules)) == [("earned", 10)]
    assert moved(apply(ann, tier([(hour(9), "2")], verb="demoted"), rules=rules)) == []
