"""Awards and how they combine: per amount, fixed, multipliers, exclusive groups, other currencies, refunds.

Planted and caught here: floats; multipliers that compound, that go by the whole base, or by their whole factor; the
tier's extra on fixed points; a floor for each line; a group that excludes nothing, that is taken by a rule which does
not match, or that is capped rule by rule or not at all; an amount rounded after its rate.
"""

from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.points.rules.books import orders
from services.points.rules.books.orders import OrderCase
from services.points.rules.books.tiers import Standing
from services.points.rules.ledger import receipts
from services.points.rules.program.compiled_rule import TIER
from services.points.rules.program.judgement import AS_AT_FIRST, NO_RATE, TOO_MANY, Judgement
from services.points.rules.program.requested import EXCLUDED
from shared.contracts.kept import keep
from shared.contracts.refunds import Purchase, Refund
from shared.contracts.shop import RefundLine
from tests.points.judging import awarded, case, judged, lines
from tests.points.shop import NOON, event, hour, refund
from tests.points.states import apply, moved, new_customers, rulebook, ruleset
from tests.points.written import Json, at_least, fixed, is_in, limit, on_delivery, per_amount, rule, times

BASE = rule("base", per_amount())
COFFEE = is_in("category", "coffee")
TEA = is_in("category", "tea")
BASKET = lines(("bean", "coffee", "6.70"), ("leaf", "tea", "4.50"), ("cup", "coffee", "0.60"))
"""11.80 together, 7.30 of it coffee."""


def due(*rules: Json, **fields: Any) -> dict[str, int]:
    return awarded("11.80", ruleset(*rules), lines=BASKET, **fields)


def taken(amount: str, *parts: tuple[str, str], name: str = "r") -> Refund:
    return Refund(name, NOON, "USD", amount, tuple(RefundLine(line, 1, part) for line, part in parts))


def kept(bought: OrderCase, *refunds: Refund) -> Judgement:
    return orders.judge_kept(bought, keep(Purchase.of(bought.bought), refunds), {}, frozenset())


@pytest.mark.parametrize(
    "award, when, points",
    [
        (per_amount("1.00"), [], 11),
        (per_amount("1.00"), [COFFEE], 7),
        (per_amount("1.00"), [TEA], 4),
        (per_amount("2.50", 3), [], 12),
        (per_amount("2.50", 3), [COFFEE], 6),
        (per_amount("7.30"), [COFFEE], 1),
        (per_amount("7.3001"), [COFFEE], 0),
        (per_amount("0.0001"), [COFFEE], 73_000),
        # The cup alone, 0.60, gives no point: lines are added before the floor.
        (per_amount("1.00"), [is_in("sku", "cup")], 0),
        (per_amount("1.00"), [is_in("sku", "cup", "leaf")], 5),
        (per_amount("1.00"), [COFFEE, is_in("sku", "cup", "leaf", "bean")], 7),
        (per_amount("1.00"), [at_least("11.80")], 11),
        (per_amount("1.00"), [at_least("11.80"), TEA], 4),
        (fixed(15), [], 15),
        (fixed(15), [COFFEE], 15),
        (fixed(15), [is_in("category", "juice")], 0),
    ],
)
def test_points_per_amount_count_matching_lines_and_fixed_points_once(award: Json, when: list[Json], points: int):
    assert due(rule("only", award, *when)).get("only", 0) == points


@pytest.mark.parametrize(
    "multiplier, extra",
    [
        (rule("m", times("2")), 11),
        (rule("m", times("1.5")), 5),
        (rule("m", times("1")), 0),
        (rule("m", times("1.0001")), 0),
        (rule("m", times("9999.9999")), 11 * 9998 + 10),
        # Only of its lines: added, then floored, then multiplied.
        (rule("m", times("2"), COFFEE), 7),
        (rule("m", times("3"), TEA), 8),
        (rule("m", times("1.5"), TEA), 2),
        (rule("m", times("2"), is_in("sku", "cup")), 0),
        (rule("m", times("2"), is_in("category", "juice")), 0),
        (rule("m", times("2"), at_least("11.80"), COFFEE), 7),
        (rule("m", times("2"), at_least("11.81")), 0),
    ],
)
def test_a_multiplier_adds_to_what_its_lines_alone_earn(multiplier: Json, extra: int):
    for rules in ((BASE, multiplier), (multiplier, BASE)):
        assert due(*rules) == {"base": 11} | ({"m": extra} if extra else {})


def test_a_multiplier_counts_every_rule_per_amount_that_matches_and_nothing_else():
    tea, big = rule("tea", per_amount("0.50"), TEA), rule("big", per_amount("0.01"), at_least("99.00"))
    others = (BASE, tea, big, rule("fixed", fixed(1000)))
    assert due(*others, rule("m", times("2"))) == {"base": 11, "tea": 9, "fixed": 1000, "m": 20}
    assert due(*others, rule("m", times("2"), COFFEE)) == {"base": 11, "tea": 9, "fixed": 1000, "m": 7}
    assert due(*others, rule("m", times("2"), TEA)) == {"base": 11, "tea": 9, "fixed": 1000, "m": 4 + 9}
    # Without a rule per amount there is nothing to multiply.
    assert due(rule("fixed", fixed(1000)), rule("m", times("2"))) == {"fixed": 1000}


def test_multipliers_and_the_tiers_extra_add_up_on_the_base_each_floored():
    rules = ruleset(BASE, rule("half", times("1.5")), rule("quarter", times("1.25")), rule("gift", fixed(7)))
    assert awarded("101.99", rules, Standing("silver", "1.1")) == {
        "base": 101,
        "half": 50,
        "quarter": 25,
        "gift": 7,
        TIER: 10,
    }
    # Each floored: 1 and 1 and 1 of 3, not 4 of 3 x 1.5.
    twice = ruleset(BASE, rule("a", times("1.5")), rule("b", times("1.5")))
    assert awarded("3.00", twice, Standing("gold", "1.5")) == {"base": 3, "a": 1, "b": 1, TIER: 1}


def test_of_a_group_the_first_rule_that_matches_counts():
    steps = [
        rule(name, fixed(points), at_least(least), exclusive_group="basket")
        for name, points, least in (("high", 25, "50.00"), ("middle", 10, "25.00"), ("low", 5, "0.00"))
    ]
    rules = ruleset(*steps, rule("free", fixed(1)))
    assert awarded("50.00", rules) == {"high": 25, "free": 1}
    assert awarded("49.99", rules) == {"middle": 10, "free": 1}
    assert awarded("1.00", rules) == {"low": 5, "free": 1}
    assert [line.why for line in judged("30.00", rules=rules).rules] == ["amount_at_least", None, EXCLUDED, None]
    # In the document's order, whatever they give.
    assert awarded("50.00", ruleset(*reversed(steps))) == {"low": 5}


def test_an_excluded_rule_is_no_base_and_multiplies_nothing():
    first = rule("first", per_amount(), exclusive_group="g")
    second = rule("second", per_amount("0.10"), exclusive_group="g")
    assert due(first, second, rule("m", times("2"))) == {"first": 11, "m": 11}
    better = rule("better", times("3"), COFFEE, exclusive_group="x")
    worse = rule("worse", times("2"), exclusive_group="x")
    assert due(BASE, better, worse) == {"base": 11, "better": 14}
    assert due(BASE, worse, better) == {"base": 11, "worse": 11}


def test_a_group_gives_no_more_on_what_is_kept_than_at_first():
    rules = ruleset(
        rule("high", fixed(10), at_least("50.00"), exclusive_group="g"), rule("low", fixed(25), exclusive_group="g")
    )
    bought = case("60.00", rules)
    assert kept(bought, taken("10.00")).due == {"high": 10}
    later = kept(bought, taken("10.01"))
    assert later.due == {"low": 10}
    assert [(line.why, line.requested, line.limit) for line in later.rules] == [
        ("amount_at_least", 0, None),
        (None, 25, AS_AT_FIRST),
    ]
    down = ruleset(
        rule("high", fixed(25), at_least("50.00"), exclusive_group="g"), rule("low", fixed(10), exclusive_group="g")
    )
    assert kept(case("60.00", down), taken("10.01")).due == {"low": 10}


@pytest.mark.parametrize(
    "total, currency, points",
    [
        ("374.95", "SAR", 99),
        ("374.9531", "SAR", 99),
        ("374.96", "SAR", 100),
        ("3.7495", "SAR", 0),
        ("9999.9999", "IRR", 0),
        ("10000.00", "IRR", 1),
        ("999999999999.9999", "KWD", 3_249_999_999_999),
        ("100.00", "USD", 100),
        ("16393.00", "IDR", 0),
        ("16394.00", "IDR", 1),
    ],
)
def test_another_currency_is_exact_until_the_floor(total: str, currency: str, points: int):
    rates = {"SAR": "0.2667", "IRR": "0.0001", "KWD": "3.25", "IDR": "0.000061"}
    exact = Fraction(total) * Fraction((rates | {"USD": "1"})[currency])
    assert points == exact // 1
    # Alone (the total decides), and beside another rule.
    for rules in (ruleset(BASE, rates=rates), ruleset(BASE, rule("gift", fixed(1)), rates=rates)):
        assert judged(total, rules=rules, currency=currency).rules[0].awarded == points


@given(
    units=st.integers(0, 10**16 - 1),
    rate=st.integers(1, 10**12 - 1),
    places=st.integers(0, 12),
    amount=st.integers(9, 10**8),
    points=st.integers(1, 9),
)
@example(units=10**16 - 1, rate=10**8 - 1, places=4, amount=1, points=1)
@example(units=10**16 - 1, rate=61, places=6, amount=10_000, points=1)
@example(units=10**16 - 1, rate=1, places=12, amount=9, points=9)
def test_any_amount_at_any_rate_is_exact(*, units: int, rate: int, places: int, amount: int, points: int):
    award = per_amount(_decimal(amount), points)
    text = _decimal(rate, places)
    # Each as the program's only rate (the total decides) and beside another rule and rate.
    for others, rates in (((), {}), ((rule("gift", fixed(1)),), {"EUR": "1.0000000001"})):
        rules = ruleset(rule("base", award), *others, rates={"SAR": text} | rates)
        line = judged(_decimal(units), rules=rules, currency="SAR").rules[0]
        assert line.requested == Fraction(units, 10_000) * Fraction(text) // Fraction(amount, 10_000) * points
        assert line.awarded == min(line.requested, 10**15)


def _decimal(units: int, places: int = 4) -> str:
    whole, rest = divmod(units, 10**places)
    return f"{whole}.{rest:0{places}}" if places else f"{whole}"


def test_lines_of_another_currency_are_added_before_the_floor():
    rules = ruleset(rule("coffee", per_amount(), COFFEE), rule("m", times("2"), COFFEE), rates={"SAR": "0.25"})
    basket = lines(("a", "coffee", "3.99"), ("b", "coffee", "0.01"), ("c", "tea", "400.00"))
    assert awarded("404.00", rules, currency="SAR", lines=basket) == {"coffee": 1, "m": 1}


def test_the_extra_goes_by_the_first_rule_per_amount_that_matches():
    waiting = rule("p", per_amount("1.00", 5), is_in("sku", "p"), activate=on_delivery(10))
    rules = ruleset(waiting, BASE, rule("again", per_amount("2.00")))
    silver = Standing("silver", "1.25")
    # Without P, the extra is available at once, as the points of `base` are.
    other = case("100.00", rules, silver, lines=lines(("q", "x", "100.00")))
    first, cuts, _ = orders.judge_bought(other, {})
    assert first.due == {"base": 100, "again": 50, f"{TIER}:base": 37}
    assert orders.judge_kept(other, None, cuts, frozenset({"p"})).due == first.due
    # With P, the extra waits with P; if P is never delivered, the extra is judged again on the rest.
    both = case("100.00", rules, silver, lines=lines(("p", "x", "40.00"), ("q", "x", "60.00")))
    first, cuts, _ = orders.judge_bought(both, {})
    assert first.due == {"p": 200, "base": 100, "again": 50, TIER: 87}
    assert orders.judge_kept(both, None, cuts, frozenset({"p"})).due == {"base": 100, "again": 50, f"{TIER}:base": 37}
    # `again` activates and expires as `base` does, and shares its name.
    assert [compiled.extra for compiled in rules.on("purchase")] == [TIER, f"{TIER}:base", f"{TIER}:base"]


@pytest.mark.parametrize(
    "given_rules, total, expected, limits, extra_limit",
    [
        # 10,000 points for 1.00 of 999,999,999,999.9999.
        ([rule("base", per_amount("0.0001"))], "999999999999.9999", {"base": 10**15}, [TOO_MANY], TOO_MANY),
        ([rule("base", per_amount("0.0001"))], "80000000000.00", {"base": 8 * 10**14, TIER: 2 * 10**14}, [None], None),
        ([rule("base", per_amount("0.0001"))], "90000000000.00", {"base": 9 * 10**14, TIER: 10**14}, [None], TOO_MANY),
        (
            [rule("base", per_amount("0.0001")), rule("gift", fixed(10)), rule("m", times("2"))],
            "60000000000.00",
            {"base": 6 * 10**14, "gift": 10, "m": 4 * 10**14 - 10},
            [None, None, TOO_MANY],
            TOO_MANY,
        ),
        (
            [rule("base", per_amount("0.0001"), limits=[limit(count=3)])],
            "999999999999.9999",
            {"base": 10**15},
            [TOO_MANY],
            TOO_MANY,
        ),
    ],
)
def test_an_order_gives_no_more_than_an_account_can_hold_and_the_receipt_says_so(
    *, given_rules: list[Json], total: str, expected: dict[str, int], limits: list[str | None], extra_limit: str | None
):
    rules = ruleset(*given_rules)
    bought = case(total, rules, Standing("silver", "1.25"))
    judgement, cuts, _ = orders.judge_bought(bought, {})
    assert judgement.due == expected
    assert [line.limit for line in judgement.rules] == limits
    assert judgement.extra_limit == extra_limit
    assert receipts.of_order(1, judgement)["tier"].get("limit") == extra_limit
    assert orders.judge_kept(bought, None, cuts, frozenset()) == judgement


def test_without_a_rate_no_rule_matches_and_each_says_so():
    rules = ruleset(BASE, rule("gift", fixed(5)), rule("m", times("2"), COFFEE, exclusive_group="g"))
    judgement = judged("100.00", "1.5", rules=rules, currency="EUR")
    assert [(line.why, line.matched, line.requested, line.awarded) for line in judgement.rules] == [
        (NO_RATE, False, 0, 0)
    ] * 3
    assert (judgement.due, judgement.extra) == ({}, 0)
    assert kept(case("100.00", rules, currency="EUR")).due == {}


def test_the_worked_example_of_the_issue():
    gifts = (rule(f"gift-{sku}", fixed(15), is_in("sku", sku)) for sku in ("A", "B"))
    rules = rulebook((datetime(1, 1, 1, tzinfo=UTC), ruleset(BASE, *gifts)))
    ann = new_customers("ann")
    basket = lines(("A", "x", "10.00"), ("B", "x", "10.00"), ("C", "x", "20.00"))
    bought = case("40.00", lines=basket).bought
    made = apply(ann, event("shop.purchase.completed.v1", NOON, bought), rules=rules)
    assert moved(made) == [("earned", 70)]
    assert moved(apply(ann, refund("1", "c", "20.00", hour(1), lines=[("3", "20.00")]), rules=rules)) == [
        ("reversed", -20)
    ]
    assert moved(apply(ann, refund("1", "a", "10.00", hour(2), lines=[("1", "10.00")]), rules=rules)) == [
        ("reversed", -25)
    ]
    assert ann.accounts["ann"].available == 25
