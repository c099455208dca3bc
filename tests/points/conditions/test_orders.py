"""Conditions on orders at their edges.

Planted and caught here: an amount that must exceed the minimum; an amount rounded before it is compared; the position
counted from 0.
"""

import pytest

from services.points.rules.program.judgement import NO_RATE
from shared.contracts.refunds import Refund
from tests.points.conditions.matching import Example, only, refund, why, why_kept
from tests.points.judging import lines
from tests.points.shop import hour, purchase
from tests.points.states import SINCE_EVER, apply, moved, new_customers, rulebook
from tests.points.written import Json, at_least, is_in

FIRST: Json = {"kind": "first_purchase"}
THIRD: Json = {"kind": "every_nth_purchase", "n": 3}

EXAMPLES = [
    Example(at_least("10.00"), "purchase", {"total": "10.00"}, {"total": "9.99"}),
    Example(is_in("channel", "app"), "purchase", {"channel": "app"}, {"channel": "App"}),
    Example(is_in("store", "17"), "purchase", {"store_id": "17"}, {"store_id": "1"}),
    Example(is_in("currency", "SAR"), "purchase", {"currency": "SAR"}, {"currency": "USD"}),
    Example(FIRST, "purchase", {"ordinal": 1}, {"ordinal": 2}),
    Example(THIRD, "purchase", {"ordinal": 6}, {"ordinal": 4}),
]


@pytest.mark.parametrize(
    "total, currency, expected",
    [
        ("10.00", "USD", None),
        ("9.9999", "USD", "amount_at_least"),
        ("10.0001", "USD", None),
        ("40.00", "SAR", None),
        ("39.9999", "SAR", "amount_at_least"),
        ("30.0000", "KWD", "amount_at_least"),
        ("30.0030", "KWD", "amount_at_least"),
        ("30.0031", "KWD", None),
        ("1000.00", "EUR", NO_RATE),
    ],
)
def test_amount_at_least_compares_the_exact_total_in_the_programs_currency(
    total: str, currency: str, expected: str | None
):
    rules = only(at_least("10.00"), rates={"SAR": "0.25", "KWD": "0.3333"})
    assert why(rules, total, currency=currency) == expected


@pytest.mark.parametrize(
    "refunds, expected",
    [
        ([refund("30.00")], None),
        ([refund("30.0001")], "amount_at_least"),
        ([refund("10.00"), refund("20.00")], None),
        ([refund("10.00"), refund("20.01")], "amount_at_least"),
        ([refund("40.00")], "refunded"),
    ],
)
def test_amount_at_least_compares_what_is_kept(refunds: list[Refund], expected: str | None):
    assert why_kept(only(at_least("10.00")), "40.00", *refunds) == expected


@pytest.mark.parametrize(
    "least, expected", [("6.6666", None), ("6.6667", "amount_at_least"), ("7.00", "amount_at_least")]
)
def test_the_kept_amount_is_not_rounded(least: str, expected: str | None):
    # A third of both lines is refunded, then the second line in full: two thirds of 10.00 are kept.
    refunds = (refund("10.00"), refund("20.00", ("2", "20.00")))
    bought = lines(("a", "x", "10.00"), ("b", "x", "20.00"))
    assert why_kept(only(at_least(least)), "30.00", *refunds, lines=bought) == expected


@pytest.mark.parametrize(
    "kind, field, other",
    [("channel", "channel", "Web"), ("store", "store_id", "web "), ("currency", "currency", "KWD")],
)
def test_a_value_is_compared_letter_by_letter(kind: str, field: str, other: str):
    rules = only(is_in(kind, "web", "app", "SAR"), rates={"SAR": "0.25", "KWD": "3.25"})
    value = "SAR" if field == "currency" else "app"
    assert why(rules, **{field: value}) is None
    assert why(rules, **{field: other}) == f"{kind}_in"
    assert why(rules) == f"{kind}_in"


@pytest.mark.parametrize(
    "ordinal, first, third",
    [(1, True, False), (2, False, False), (3, False, True), (4, False, False), (6, False, True)],
)
def test_the_position_decides_on_the_first_and_every_nth_order(ordinal: int, first: bool, third: bool):
    assert (why(only(FIRST), ordinal=ordinal) is None) == first
    assert (why(only(THIRD), ordinal=ordinal) is None) == third
    assert why(only(THIRD | {"n": 1}), ordinal=ordinal) is None


def test_the_position_counts_free_and_foreign_orders_and_never_changes():
    rules = rulebook((SINCE_EVER, only(THIRD)))
    ann = new_customers("ann")
    # In the order of arrival: the third order that arrives is the third, whenever it occurred.
    bought = (purchase("1", "0.00", hour(9)), purchase("2", "5.00", hour(8), currency="XXX"), purchase("3", "1.00"))
    assert [points for _, points in moved(apply(ann, *bought, rules=rules))] == [0, 0, 10]
    assert moved(apply(ann, purchase("4", "1.00"), purchase("1", "0.00", hour(9)), rules=rules)) == [("earned", 0)]
    assert [order.ordinal for order in ann.orders.values()] == [1, 2, 3, 4]


def test_all_conditions_must_hold_and_the_first_that_fails_is_named():
    when = [is_in("channel", "web"), is_in("store", "riyadh"), FIRST]
    facts: Json = {"channel": "web", "store_id": "riyadh"}
    assert why(only(*when), **facts) is None
    assert why(only(*when), ordinal=2, **facts) == "first_purchase"
    assert why(only(*when), ordinal=2, channel="web") == "store_in"
    assert why(only(*when), ordinal=2) == "channel_in"
    assert why(only()) is None
