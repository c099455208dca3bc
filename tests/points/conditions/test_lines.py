"""Conditions on order lines at their edges.

Planted and caught here: two conditions satisfied by two lines, not by one; a line refunded in full that counts as kept;
the wrong condition named.
"""

import pytest

from shared.contracts.refunds import Refund
from tests.points.conditions.matching import Example, only, refund, why, why_kept, why_not
from tests.points.judging import lines
from tests.points.written import Json, is_in

BASKET = lines(("bean", "coffee", "6.00"), ("leaf", "tea", "4.00"))

EXAMPLES = [
    Example(is_in("category", "tea"), "purchase", {"lines": BASKET}, {"lines": ()}),
    Example(is_in("sku", "bean"), "purchase", {"lines": BASKET}, {"lines": ()}),
    Example(is_in("sku", "bean"), "review", {"sku": "bean"}, {"sku": "leaf"}),
]


@pytest.mark.parametrize(
    "when, expected",
    [
        ([is_in("category", "coffee")], None),
        ([is_in("category", "Coffee", "coffee ", "coff")], "category_in"),
        ([is_in("category", "juice", "tea")], None),
        ([is_in("category", "juice")], "category_in"),
        ([is_in("sku", "leaf")], None),
        ([is_in("sku", "tea")], "sku_in"),
        # One line must satisfy all conditions on lines.
        ([is_in("category", "coffee"), is_in("sku", "bean")], None),
        ([is_in("category", "coffee"), is_in("sku", "leaf")], "sku_in"),
        ([is_in("sku", "leaf"), is_in("category", "coffee")], "category_in"),
        ([is_in("category", "juice"), is_in("sku", "leaf")], "category_in"),
        ([is_in("category", "tea", "coffee"), is_in("category", "tea"), is_in("sku", "bean")], "sku_in"),
        # Conditions on the order are tested first.
        ([is_in("category", "juice"), is_in("channel", "web")], "channel_in"),
    ],
)
def test_conditions_on_lines_hold_where_one_line_satisfies_them_all(when: list[Json], expected: str | None):
    assert why(only(*when), lines=BASKET) == expected


@pytest.mark.parametrize("kind", ["category", "sku"])
def test_an_order_without_lines_or_categories_matches_none(kind: str):
    rules = only(is_in(kind, "bean", "coffee"))
    assert why(rules) == f"{kind}_in"
    assert why(rules, lines=[{"line_id": "1", "sku": "x", "quantity": 1, "amount": "10.00"}]) == f"{kind}_in"


@pytest.mark.parametrize(
    "refunds, expected",
    [
        ([refund("5.9999", ("1", "5.9999"))], None),
        ([refund("6.00", ("1", "6.00"))], "category_in"),
        ([refund("2.00", ("1", "2.00")), refund("4.00", ("1", "4.00"))], "category_in"),
        ([refund("9.99")], None),
        ([refund("4.00", ("2", "4.00"))], None),
        ([refund("6.00"), refund("7.00", ("1", "7.00"))], "category_in"),
        ([refund("10.00")], "refunded"),
    ],
)
def test_a_line_refunded_in_full_does_not_match(refunds: list[Refund], expected: str | None):
    assert why_kept(only(is_in("category", "coffee")), "10.00", *refunds, lines=BASKET) == expected


def test_a_free_line_is_kept_until_it_is_returned():
    bought = lines(("sample", "coffee", "0.00"), ("leaf", "tea", "10.00"))
    rules = only(is_in("category", "coffee"))
    assert why(rules, lines=bought) is None
    assert why_kept(rules, "10.00", refund("9.00"), lines=bought) is None
    assert why_kept(rules, "10.00", refund("0.00", ("1", "0.00")), lines=bought) == "category_in"


def test_a_review_has_a_product_and_no_category():
    assert why_not(only(is_in("sku", "s"), on="review"), "review", {"sku": "s"}) is None
    assert why_not(only(is_in("sku", "s"), on="review"), "review", {"sku": "t"}) == "sku_in"
    assert why_not(only(is_in("category", "coffee"), on="review"), "review", {"sku": "coffee"}) == "category_in"
