"""Every kind of condition at its edges: a table each, judged alone; a rule that fails names the condition that did.

Planted and caught here: an amount that has to be above the bound; a newcomer in no tier; two conditions that two
lines satisfy, not one; a line refunded to nothing taken for kept; a rating that is unknown taken for 0; the tier at the
order's instant, not before it; a promotion judged at the old tier; the nth counted from 0; the wrong condition named.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest

from services.points.rules.books import accruals, orders
from services.points.rules.books.accruals import AccrualCase
from services.points.rules.books.tiers import Standing
from services.points.rules.program.judgement import NO_RATE, RuleLine
from services.points.rules.program.ruleset import RuleSet
from shared.contracts.kept import Purchase, Refund, keep
from shared.contracts.shop import RefundLine
from tests.points.judging import case, lines
from tests.points.known import SINCE_EVER, moved, rulebook, ruleset, strangers, tell
from tests.points.shop import NOON, hour, purchase, tier
from tests.points.written import Json, at_least, fixed, is_in, rule

BASKET = lines(("bean", "coffee", "6.00"), ("leaf", "tea", "4.00"))


def only(*when: Json, on: str = "purchase", **fields: Any) -> RuleSet:
    """The rules where one gives 10 under some conditions."""
    return ruleset(rule("only", fixed(10), *when, on=on), **fields)


def checked(found: tuple[RuleLine, ...]) -> str | None:
    """Why the one rule does not match, None where it does; the rest of its line follows from that."""
    [line] = found
    assert line == RuleLine("only", line.why is None, *((10, 10) if line.why is None else (0, 0)), line.why)
    return line.why


def why(rules: RuleSet, total: str = "10.00", standing: Standing | None = None, **fields: Any) -> str | None:
    return checked(orders.judge_bought(case(total, rules, standing, **fields), {}).judgement.rules)


def why_kept(rules: RuleSet, total: str, *refunds: Refund, **fields: Any) -> str | None:
    bought = case(total, rules, **fields)
    kept = keep(Purchase.of(bought.bought), refunds)
    return checked(orders.judge_kept(bought, kept, {}, frozenset()).rules)


def why_told(rules: RuleSet, on: Any, told: Mapping[str, Any], at: datetime = NOON, tier: str | None = None):
    return checked(accruals.judge(AccrualCase(rules, "ann", on, at, told, tier), {})[0].rules)


def taken(amount: str, *parts: tuple[str, str], currency: str = "USD") -> Refund:
    return Refund(amount, NOON, currency, amount, tuple(RefundLine(line, 1, part) for line, part in parts))


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
def test_amount_at_least_is_of_the_exact_total_in_the_programs_currency(
    total: str, currency: str, expected: str | None
):
    rules = only(at_least("10.00"), rates={"SAR": "0.25", "KWD": "0.3333"})
    assert why(rules, total, currency=currency) == expected


@pytest.mark.parametrize(
    "refunds, expected",
    [
        ([taken("30.00")], None),
        ([taken("30.0001")], "amount_at_least"),
        ([taken("10.00"), taken("20.00")], None),
        ([taken("10.00"), taken("20.01")], "amount_at_least"),
        ([taken("40.00")], "refunded"),
    ],
)
def test_amount_at_least_is_of_what_is_kept(refunds: list[Refund], expected: str | None):
    assert why_kept(only(at_least("10.00")), "40.00", *refunds) == expected


@pytest.mark.parametrize(
    "least, expected", [("6.6666", None), ("6.6667", "amount_at_least"), ("7.00", "amount_at_least")]
)
def test_what_is_kept_is_no_rounded_amount(least: str, expected: str | None):
    # A third of both lines is given back, then the second whole: two thirds of 10.00 are kept.
    refunds = (taken("10.00"), taken("20.00", ("2", "20.00")))
    bought = lines(("a", "x", "10.00"), ("b", "x", "20.00"))
    rules = only(at_least(least))
    assert why_kept(rules, "30.00", *refunds, lines=bought) == expected


@pytest.mark.parametrize(
    "when, expected",
    [
        ([is_in("category", "coffee")], None),
        ([is_in("category", "Coffee", "coffee ", "coff")], "category_in"),
        ([is_in("category", "juice", "tea")], None),
        ([is_in("category", "juice")], "category_in"),
        ([is_in("sku", "leaf")], None),
        ([is_in("sku", "tea")], "sku_in"),
        # One and the same line has to satisfy all that is said of lines.
        ([is_in("category", "coffee"), is_in("sku", "bean")], None),
        ([is_in("category", "coffee"), is_in("sku", "leaf")], "sku_in"),
        ([is_in("sku", "leaf"), is_in("category", "coffee")], "category_in"),
        ([is_in("category", "juice"), is_in("sku", "leaf")], "category_in"),
        ([is_in("category", "tea", "coffee"), is_in("category", "tea"), is_in("sku", "bean")], "sku_in"),
        # What is said of the order is asked first.
        ([is_in("category", "juice"), is_in("channel", "web")], "channel_in"),
    ],
)
def test_conditions_on_lines_hold_where_one_line_satisfies_them_all(when: list[Json], expected: str | None):
    assert why(only(*when), lines=BASKET) == expected


@pytest.mark.parametrize("kind", ["category", "sku"])
def test_an_order_without_lines_or_categories_has_none_that_matches(kind: str):
    rules = only(is_in(kind, "bean", "coffee"))
    assert why(rules) == f"{kind}_in"
    assert why(rules, lines=[{"line_id": "1", "sku": "x", "quantity": 1, "amount": "10.00"}]) == f"{kind}_in"


@pytest.mark.parametrize(
    "refunds, expected",
    [
        ([taken("5.9999", ("1", "5.9999"))], None),
        ([taken("6.00", ("1", "6.00"))], "category_in"),
        ([taken("2.00", ("1", "2.00")), taken("4.00", ("1", "4.00"))], "category_in"),
        ([taken("9.99")], None),
        ([taken("4.00", ("2", "4.00"))], None),
        ([taken("6.00"), taken("7.00", ("1", "7.00"))], "category_in"),
        ([taken("10.00")], "refunded"),
    ],
)
def test_a_line_refunded_to_nothing_is_not_kept(refunds: list[Refund], expected: str | None):
    assert why_kept(only(is_in("category", "coffee")), "10.00", *refunds, lines=BASKET) == expected


def test_a_free_line_is_kept_until_it_comes_back():
    bought = lines(("sample", "coffee", "0.00"), ("leaf", "tea", "10.00"))
    rules = only(is_in("category", "coffee"))
    assert why(rules, lines=bought) is None
    assert why_kept(rules, "10.00", taken("9.00"), lines=bought) is None
    assert why_kept(rules, "10.00", taken("0.00", ("1", "0.00")), lines=bought) == "category_in"


@pytest.mark.parametrize(
    "kind, field, other",
    [("channel", "channel", "Web"), ("store", "store_id", "web "), ("currency", "currency", "KWD")],
)
def test_what_an_order_has_is_among_the_values_or_not(kind: str, field: str, other: str):
    rules = only(is_in(kind, "web", "app", "SAR"), rates={"SAR": "0.25", "KWD": "3.25"})
    value = "SAR" if field == "currency" else "app"
    assert why(rules, **{field: value}) is None
    assert why(rules, **{field: other}) == f"{kind}_in"
    assert why(rules) == f"{kind}_in"


@pytest.mark.parametrize(
    "ordinal, first, third",
    [(1, True, False), (2, False, False), (3, False, True), (4, False, False), (6, False, True)],
)
def test_the_ordinal_tells_the_first_and_every_nth_order(ordinal: int, first: bool, third: bool):
    assert (why(only({"kind": "first_purchase"}), ordinal=ordinal) is None) == first
    assert (why(only({"kind": "every_nth_purchase", "n": 3}), ordinal=ordinal) is None) == third
    assert why(only({"kind": "every_nth_purchase", "n": 1}), ordinal=ordinal) is None


def test_the_ordinal_counts_free_and_foreign_orders_and_never_changes():
    rules = rulebook((SINCE_EVER, only({"kind": "every_nth_purchase", "n": 3})))
    ann = strangers("ann")
    # Told late: the third that is told is the third, whenever it happened.
    told = (purchase("1", "0.00", hour(9)), purchase("2", "5.00", hour(8), currency="XXX"), purchase("3", "1.00"))
    assert [points for _, points in moved(tell(ann, *told, rules=rules))] == [0, 0, 10]
    assert moved(tell(ann, purchase("4", "1.00"), purchase("1", "0.00", hour(9)), rules=rules)) == [("earned", 0)]
    assert [order.ordinal for order in ann.orders.values()] == [1, 2, 3, 4]


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
    assert why(only(is_in("tier", *values)), standing=standing) == expected
    assert (
        why_told(only(is_in("tier", *values), on="review"), "review", {}, tier=standing and standing.tier) == expected
    )


def test_the_lowest_tier_is_the_first_of_the_document():
    rules = only(is_in("tier", "bronze"), tiers=["bronze", "member"])
    assert why(rules) is None
    assert why(rules, standing=Standing("member", "1")) == "tier_in"


@pytest.mark.parametrize("hours, points", [(-1, 0), (0, 0), (0.001, 10), (5, 10), (5.001, 0)])
def test_a_tier_is_the_one_before_the_order(hours: float, points: int):
    rules = rulebook((SINCE_EVER, only(is_in("tier", "x1.25"))))
    ann = strangers("ann")
    tell(ann, tier([(hour(0), "1.25"), (hour(5), "1.5")]), rules=rules)
    assert moved(tell(ann, purchase("1", "100.00", hour(hours)), rules=rules)) == [("earned", points)]


def test_at_a_promotion_the_tier_is_the_new_one():
    rules = rulebook((SINCE_EVER, only(is_in("tier", "x2"), on="tier_promotion")))
    ann = strangers("ann")
    assert moved(tell(ann, tier([(hour(0), "1.25")]), rules=rules)) == [("earned", 0)]
    assert moved(tell(ann, tier([(hour(5), "2")]), rules=rules)) == [("earned", 10)]
    assert moved(tell(ann, tier([(hour(9), "2")], verb="demoted"), rules=rules)) == []


@pytest.mark.parametrize(
    "on, condition, told, expected",
    [
        ("review", {"kind": "rating_at_least", "rating": 4}, {"rating": 4}, True),
        ("review", {"kind": "rating_at_least", "rating": 4}, {"rating": 3}, False),
        ("review", {"kind": "rating_at_least", "rating": 1}, {}, False),
        ("review", {"kind": "verified_purchase"}, {"verified": True}, True),
        ("review", {"kind": "verified_purchase"}, {"verified": False}, False),
        ("review", {"kind": "verified_purchase"}, {}, False),
        ("review", {"kind": "text_length_at_least", "length": 100}, {"text_length": 100}, True),
        ("review", {"kind": "text_length_at_least", "length": 100}, {"text_length": 99}, False),
        ("review", {"kind": "text_length_at_least", "length": 0}, {"text_length": 0}, True),
        ("review", {"kind": "text_length_at_least", "length": 0}, {}, False),
        ("review", {"kind": "has_photo"}, {"photo_count": 1}, True),
        ("review", {"kind": "has_photo"}, {"photo_count": 0}, False),
        ("review", {"kind": "has_photo"}, {}, False),
        ("review", is_in("sku", "s"), {"sku": "s"}, True),
        ("review", is_in("sku", "s"), {"sku": "t"}, False),
        ("activity", {"kind": "activity_is", "activity": "quiz"}, {"activity": "quiz"}, True),
        ("activity", {"kind": "activity_is", "activity": "quiz"}, {"activity": "Quiz"}, False),
        ("survey", {"kind": "survey_is", "survey": "nps"}, {"survey": "nps", "score": 0}, True),
        ("survey", {"kind": "survey_is", "survey": "nps"}, {"survey": "csat", "score": 5}, False),
        ("survey", {"kind": "score_at_least", "score": 9}, {"survey": "nps", "score": 9}, True),
        ("survey", {"kind": "score_at_least", "score": 9}, {"survey": "nps", "score": 8}, False),
        ("survey", {"kind": "score_at_least", "score": 0}, {"survey": "nps", "score": 0}, True),
        # What an event does not have satisfies no condition.
        ("review", is_in("category", "coffee"), {"sku": "coffee"}, False),
        ("review", is_in("channel", "web"), {}, False),
        ("review", is_in("store", "web"), {}, False),
        ("review", is_in("currency", "USD"), {}, False),
        ("review", {"kind": "first_purchase"}, {}, False),
        ("review", {"kind": "every_nth_purchase", "n": 1}, {}, False),
        ("registration", {"kind": "score_at_least", "score": 0}, {}, False),
        ("birthday", {"kind": "activity_is", "activity": "quiz"}, {}, False),
        ("referral", at_least("0.01"), {}, False),
    ],
)
def test_what_other_events_are_asked(on: str, condition: Json, told: Json, expected: bool):
    assert why_told(only(condition, on=on), on, told) == (None if expected else condition["kind"])


@pytest.mark.parametrize("kind", ["rating_at_least", "text_length_at_least", "score_at_least"])
def test_an_order_has_no_stars_letters_or_scores(kind: str):
    field = {"rating_at_least": "rating", "text_length_at_least": "length", "score_at_least": "score"}[kind]
    assert why(only({"kind": kind, field: 1})) == kind


def test_all_conditions_have_to_hold_and_the_first_that_fails_is_named():
    when = [is_in("channel", "web"), is_in("store", "riyadh"), {"kind": "first_purchase"}]
    facts: Json = {"channel": "web", "store_id": "riyadh"}
    assert why(only(*when), **facts) is None
    assert why(only(*when), ordinal=2, **facts) == "first_purchase"
    assert why(only(*when), ordinal=2, channel="web") == "store_in"
    assert why(only(*when), ordinal=2) == "channel_in"
    assert why(only()) is None
