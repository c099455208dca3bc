"""Limits: counting by period and scope, cuts, freed uses.

Planted and caught here: periods of UTC; weeks that start on Monday whatever the document says; a month of any year;
awards of 0 counted; the tier's extra cut with the base; uses counted by version; a withdrawn review that frees what it
requested, or only its points; the least used SKU that binds; lines that do not match a rule counted for their SKU; the
last of two limits named; a refund judged with unused limits.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from pydantic_core import to_json

from services.points.rules.books import orders
from services.points.rules.books.orders import OrderCase
from services.points.rules.books.state import State
from services.points.rules.books.tiers import Standing
from services.points.rules.program.compiled_rule import TIER
from services.points.rules.program.document import Limit
from services.points.rules.program.judgement import NO_USE, RuleLine
from services.points.rules.program.limits import Cut, Use, UseKey, read_cuts, words
from services.points.rules.program.requested import USED_UP
from services.points.rules.program.ruleset import RuleSet
from shared.contracts.kept import keep
from shared.contracts.refunds import Purchase, Refund
from shared.contracts.shop import RefundLine
from shared.contracts.values import parse_instant
from tests.points.judging import case, lines
from tests.points.shop import NOON, hour, purchase, refund, review, tier, withdrawal
from tests.points.states import SINCE_EVER, apply, moved, new_customers, rulebook, ruleset
from tests.points.written import Json, at_least, fixed, is_in, limit, per_amount, rule, times


def limited(*limits: Json, award: Json | None = None, **fields: Any) -> RuleSet:
    """A ruleset with one rule, which gives 10 points (or another award) within limits."""
    return ruleset(rule("only", award or fixed(10), limits=list(limits)), **fields)


def points_of(rules: RuleSet, *cases: OrderCase) -> list[int]:
    """What the rule gives for each of a sequence of orders."""
    uses: dict[UseKey, Use] = {}
    points: list[int] = []
    for order in cases:
        judgement, _, used = orders.judge_bought(replace(order, rules=rules), uses)
        uses |= used
        points.append(judgement.rules[0].awarded)
    return points


def at(*instants: str) -> list[OrderCase]:
    return [case("10.00", at=parse_instant(instant)) for instant in instants]


def of(customer: str, *skus: str) -> OrderCase:
    basket = lines(*((sku, "coffee", "1.00") for sku in skus))
    return case(f"{len(skus)}.00", customer_id=customer, lines=basket)


@pytest.mark.parametrize(
    "limits, expected",
    [
        ([limit(count=2)], [10, 10, 0, 0]),
        ([limit(points=25)], [10, 10, 5, 0]),
        ([limit(points=20)], [10, 10, 0, 0]),
        ([limit(points=1)], [1, 0, 0, 0]),
        ([limit("order", points=4)], [4, 4, 4, 4]),
        ([limit("order", count=1)], [10, 10, 10, 10]),
        ([limit(count=3), limit(points=25)], [10, 10, 5, 0]),
        ([limit("order", points=4), limit(points=10)], [4, 4, 2, 0]),
        ([limit("order", points=9), limit(count=2)], [9, 9, 0, 0]),
        ([], [10, 10, 10, 10]),
    ],
)
def test_an_award_is_cut_to_what_its_limits_leave(limits: list[Json], expected: list[int]):
    assert points_of(limited(*limits), *[case("10.00")] * 4) == expected


def test_the_receipt_says_what_was_requested_awarded_and_which_limit_cut():
    rules = limited(limit(points=15), limit("month", points=12), limit("week", count=9), award=per_amount())
    [first] = orders.judge_bought(case("12.00", rules), {}).judgement.rules
    assert first == RuleLine("only", matched=True, requested=12, awarded=12)
    uses = orders.judge_bought(case("8.00", rules), {}).used
    [cut] = orders.judge_bought(case("8.00", rules), uses).judgement.rules
    assert cut == RuleLine("only", matched=True, requested=8, awarded=4, limit="12 points per customer and month")
    # In April the limit of the month is unused, and the limit for ever binds.
    [later] = orders.judge_bought(case("8.00", rules, at=parse_instant("2026-04-01T00:00:00Z")), uses).judgement.rules
    assert (later.requested, later.awarded, later.limit) == (8, 7, "15 points per customer")
    # Of two limits that cut alike, the first is named.
    alike = limited(limit("order", points=5), limit(points=5), award=per_amount())
    assert orders.judge_bought(case("9.00", alike), {}).judgement.rules[0].limit == "5 points per order"


@pytest.mark.parametrize(
    "written, expected",
    [
        (limit(count=1), "once per customer"),
        (limit("year", count=3), "3 times per customer and year"),
        (limit("order", points=5), "5 points per order"),
        (limit("order", "program", count=2), "2 times per order"),
        (limit("ever", "program", points=9), "9 points in the program"),
        (limit("day", "program", count=1), "once in the program per day"),
        (limit("week", "customer_sku", points=9), "9 points per customer and sku and week"),
    ],
)
def test_a_limit_in_words(written: Json, expected: str):
    assert words(Limit.model_validate(written)) == expected


@pytest.mark.parametrize(
    "per, zone, week_start, instants, expected",
    [
        ("day", "UTC", "mon", "2026-03-05T00:00:00Z 2026-03-05T23:59:59Z 2026-03-06T00:00:00Z", [10, 0, 10]),
        ("day", "Asia/Riyadh", "mon", "2026-03-05T20:59:59Z 2026-03-05T21:00:00Z 2026-03-06T20:59:59Z", [10, 10, 0]),
        # The days of 23 and of 25 hours.
        ("day", "Europe/Berlin", "mon", "2026-03-28T23:00:00Z 2026-03-29T21:59:59Z 2026-03-29T22:00:00Z", [10, 0, 10]),
        ("day", "Europe/Berlin", "mon", "2026-10-24T22:00:00Z 2026-10-25T22:59:59Z 2026-10-25T23:00:00Z", [10, 0, 10]),
        # 1 March 2026 is a Sunday.
        ("week", "UTC", "mon", "2026-02-28T12:00:00Z 2026-03-01T23:59:59Z 2026-03-02T00:00:00Z", [10, 0, 10]),
        ("week", "UTC", "sun", "2026-02-28T12:00:00Z 2026-03-01T00:00:00Z 2026-03-07T23:59:59Z", [10, 10, 0]),
        ("week", "UTC", "sat", "2026-02-27T12:00:00Z 2026-02-28T00:00:00Z 2026-03-06T23:59:59Z", [10, 10, 0]),
        # A week that spans two years.
        ("week", "UTC", "mon", "2026-12-28T00:00:00Z 2027-01-03T23:59:59Z 2027-01-04T00:00:00Z", [10, 0, 10]),
        ("month", "UTC", "mon", "2028-02-01T00:00:00Z 2028-02-29T23:59:59Z 2028-03-01T00:00:00Z", [10, 0, 10]),
        ("month", "Asia/Riyadh", "mon", "2026-03-31T20:59:59Z 2026-03-31T21:00:00Z 2026-04-30T20:59:59Z", [10, 10, 0]),
        ("month", "UTC", "mon", "2026-03-15T00:00:00Z 2027-03-15T00:00:00Z 2027-03-31T00:00:00Z", [10, 10, 0]),
        ("year", "UTC", "mon", "2026-01-01T00:00:00Z 2026-12-31T23:59:59Z 2027-01-01T00:00:00Z", [10, 0, 10]),
        ("year", "Asia/Riyadh", "mon", "2026-12-31T20:59:59Z 2026-12-31T21:00:00Z 2027-12-31T20:59:59Z", [10, 10, 0]),
        ("ever", "UTC", "mon", "2001-01-01T00:00:00Z 2026-12-31T23:59:59Z 2099-01-01T00:00:00Z", [10, 0, 0]),
        # By the time of the event, in any order of arrival.
        ("day", "UTC", "mon", "2026-03-06T00:00:00Z 2026-03-05T00:00:00Z 2026-03-06T12:00:00Z", [10, 10, 0]),
    ],
)
def test_periods_are_those_of_the_programs_time_zone(
    per: str, zone: str, week_start: str, instants: str, expected: list[int]
):
    rules = limited(limit(per, count=1), time_zone=zone, week_start=week_start)
    assert points_of(rules, *at(*instants.split())) == expected


def test_a_limit_counts_by_customer_by_sku_or_for_the_whole_program():
    cases = [of("ann", "a"), of("bob", "a"), of("ann", "a"), of("ann", "b")]
    assert points_of(limited(limit(count=1)), *cases) == [10, 10, 0, 0]
    assert points_of(limited(limit(scope="customer_sku", count=1)), *cases) == [10, 10, 0, 10]
    assert points_of(limited(limit(scope="program", count=1)), *cases) == [10, 0, 0, 0]
    assert points_of(limited(limit(scope="program", points=25)), *cases) == [10, 10, 5, 0]


def test_of_several_skus_with_uses_left_the_most_used_binds():
    each = limited(limit(scope="customer_sku", points=15))
    cases = [("a",), ("a", "b"), ("b", "c"), ("a", "c"), ("a", "c"), ("d",)]
    # a: 10, 15; b: 5, 15; c: 10, 15 (a has nothing left, and does not bind); neither has; d.
    assert points_of(each, *(of("ann", *skus) for skus in cases)) == [10, 5, 10, 5, 0, 10]


def test_a_sku_without_uses_left_does_not_match_and_the_others_earn():
    rules = limited(limit(scope="customer_sku", count=1), award=per_amount())
    cases = [of("ann", "a"), of("ann", "a", "b", "c"), of("ann", "b"), of("ann", "c", "a"), of("bob", "a", "b")]
    assert points_of(rules, *cases) == [1, 2, 0, 0, 2]
    first = orders.judge_bought(replace(cases[0], rules=rules), {}).used
    judgement, cuts, used = orders.judge_bought(replace(cases[1], rules=rules), first)
    assert judgement.rules == (
        RuleLine("only", matched=True, requested=2, awarded=2, limit="once per customer and sku"),
    )
    assert cuts == {"only": Cut(2, 0, ("a",))}
    assert sorted(key.span[-1] for key in used) == ["b", "c"]
    # Later judgements leave out the same lines.
    assert orders.judge_kept(replace(cases[1], rules=rules), None, cuts, frozenset()) == judgement
    assert orders.judge_kept(replace(cases[1], rules=rules), None, reread(cuts), frozenset()) == judgement
    bought = Purchase.of(cases[1].bought)
    for line, left in (("1", 2), ("2", 1), ("3", 1)):
        back = Refund("r", NOON, "USD", "1.00", (RefundLine(line, 1, "1.00"),))
        assert orders.judge_kept(replace(cases[1], rules=rules), keep(bought, [back]), cuts, frozenset()).due == {
            "only": left
        }


def test_if_no_sku_has_uses_left_the_rule_does_not_match_and_its_group_goes_on():
    once = rule("once", fixed(9), limits=[limit(scope="customer_sku", count=1)], exclusive_group="g")
    rules = ruleset(
        once, rule("else", fixed(4), exclusive_group="g"), rule("base", per_amount()), rule("m", times("2"))
    )
    order = replace(of("ann", "a"), rules=rules)
    first, _, used = orders.judge_bought(order, {})
    assert first.due == {"once": 9, "base": 1, "m": 1}
    second, cuts, more = orders.judge_bought(order, used)
    assert second.due == {"else": 4, "base": 1, "m": 1}
    assert second.rules[0] == RuleLine("once", False, 0, 0, why=USED_UP, limit="once per customer and sku")
    assert more == {}
    assert orders.judge_kept(order, None, reread(cuts), frozenset()) == second


def test_lines_left_out_are_no_base_of_multipliers_or_of_the_tier():
    rules = ruleset(
        rule("base", per_amount(), limits=[limit(scope="customer_sku", count=1), limit("day", count=9)]),
        rule("m", times("3"), is_in("sku", "a", "b")),
    )
    cases = [
        replace(of("ann", *skus), rules=rules, standing=Standing("gold", "2")) for skus in (("a",), ("a", "b", "c"))
    ]
    first, _, used = orders.judge_bought(cases[0], {})
    assert first.due == {"base": 1, "m": 2, TIER: 1}
    assert orders.judge_bought(cases[1], used).judgement.due == {"base": 2, "m": 2, TIER: 2}


def reread(cuts: Mapping[str, Cut]) -> Mapping[str, Cut]:
    """The cuts after a round trip through the database's JSON."""
    return read_cuts(json.loads(to_json(cuts)))


def test_only_matching_lines_use_a_limit_per_sku():
    rules = ruleset(rule("only", fixed(10), is_in("sku", "a", "b"), limits=[limit(scope="customer_sku", count=1)]))
    assert points_of(rules, of("ann", "a", "x"), of("ann", "b", "x"), of("ann", "a", "b"), of("ann", "x")) == [
        10,
        10,
        0,
        0,
    ]


def test_a_count_counts_awards_above_0():
    rules = limited(limit(count=2), award=per_amount())
    cases = [case(total) for total in ("0.99", "5.00", "0.00", "7.00", "9.00")]
    assert points_of(rules, *cases) == [0, 5, 0, 7, 0]
    # An award that another limit cuts to 0 does not count.
    both = limited(limit("day", points=10), limit(count=2))
    assert points_of(both, *at("2026-03-01T00:00:00Z", "2026-03-01T01:00:00Z", "2026-03-02T00:00:00Z")) == [10, 0, 10]


def test_an_event_that_does_not_match_uses_no_limit():
    rules = ruleset(rule("only", fixed(10), at_least("5.00"), limits=[limit(count=1)]))
    assert points_of(rules, case("4.99"), case("5.00"), case("5.00")) == [0, 10, 0]


def test_multipliers_and_the_tiers_extra_go_by_the_points_before_limits():
    rules = ruleset(
        rule("base", per_amount(), limits=[limit("order", points=40)]),
        rule("m", times("2"), limits=[limit("order", points=70)]),
    )
    bought = case("100.00", rules, Standing("gold", "1.5"))
    judgement, cuts, _ = orders.judge_bought(bought, {})
    assert judgement.due == {"base": 40, "m": 70, TIER: 50}
    kept = keep(Purchase.of(bought.bought), [Refund("r", NOON, "USD", "50.00")])
    # Of 50: still 40 within the limit, 50 more by the multiplier, 25 by the tier.
    assert orders.judge_kept(bought, kept, cuts, frozenset()).due == {"base": 40, "m": 50, TIER: 25}


@pytest.fixture
def ann() -> State:
    return new_customers("ann", "bob")


def folded(state: State, rules: RuleSet, *events: Any) -> Sequence[tuple[str, int]]:
    """The kind and points of each transaction that the events make."""
    return moved(apply(state, *events, rules=rulebook((SINCE_EVER, rules))))


def test_refunds_never_return_the_use_of_a_limit(ann: State):
    rules = limited(limit(count=1), limit(points=100), award=per_amount())
    assert folded(ann, rules, purchase("1", "60.00"), refund("1", "r", "60.00")) == [("earned", 60), ("reversed", -60)]
    assert folded(ann, rules, purchase("2", "50.00")) == [("earned", 0)]
    by_points = limited(limit("month", points=100), award=per_amount())
    bob = new_customers("ann")
    folded(bob, by_points, purchase("1", "60.00"), refund("1", "r", "30.00"))
    assert folded(bob, by_points, purchase("2", "60.00")) == [("earned", 40)]
    # What the limit cut goes first: 60 were requested and 40 awarded; now 45 are requested.
    assert folded(bob, by_points, refund("2", "s", "15.00")) == []
    assert folded(bob, by_points, refund("2", "t", "10.00")) == [("reversed", -5)]


def test_a_limit_belongs_to_its_rule_across_versions(ann: State):
    first = ruleset(rule("base", per_amount(), limits=[limit(points=50)]), version=1)
    other = rule("other", fixed(7), limits=[limit(points=50)])
    second = ruleset(rule("base", per_amount(), limits=[limit(points=80)]), other, version=2)
    rules = rulebook((SINCE_EVER, first), (hour(5), second))
    purchases = [purchase("1", "60.00", hour(1)), purchase("2", "60.00", hour(6)), purchase("3", "9.00", hour(2))]
    assert [points for _, points in moved(apply(ann, *purchases, rules=rules))] == [50, 30 + 7, 0]


def test_a_withdrawn_review_frees_its_own_use(ann: State):
    rules = ruleset(
        rule("review", fixed(50), on="review", limits=[limit("month", points=80), limit(scope="customer_sku", count=1)])
    )
    assert folded(ann, rules, review("1", "s"), review("2", "t"), review("3", "u")) == [
        ("earned", 50),
        ("earned", 30),
        ("earned", 0),
    ]
    # The second review earned 30: they are free again, and so is its SKU; that of the first is not.
    assert folded(ann, rules, withdrawal("2"), review("4", "s"), review("5", "t"), review("6", "u")) == [
        ("reversed", -30),
        ("earned", 0),
        ("earned", 30),
        ("earned", 0),
    ]
    # The third review earned nothing and frees nothing.
    assert folded(ann, rules, withdrawal("3"), withdrawal("2"), review("7", "v")) == [("earned", 0)]
    assert folded(ann, rules, withdrawal("1"), review("8", "s")) == [("reversed", -50), ("earned", 50)]


def test_all_customers_share_a_limit_of_the_program(ann: State):
    rules = limited(limit("ever", "program", points=15))
    events = [purchase("1", "5.00"), purchase("2", "5.00", customer_id="bob"), purchase("3", "5.00")]
    assert [points for _, points in folded(ann, rules, *events)] == [10, 5, 0]


def test_a_late_tier_gives_nothing_by_a_rule_that_used_no_limit_at_first(ann: State):
    gold = is_in("tier", "x2")
    rules = ruleset(rule("free", fixed(3), gold), rule("counted", fixed(10), gold, limits=[limit(count=5)]))
    folded(ann, rules, purchase("1", "5.00", hour(1)))
    assert folded(ann, rules, tier([(hour(0), "2")], verb="corrected")) == [("earned", 3)]
    order = ann.orders["ann", "1"]
    case_now = OrderCase(rules, order.bought, order.occurred_at, order.ordinal, order.standing)
    lines_now = orders.judge_kept(case_now, None, order.cuts, frozenset()).rules
    assert lines_now[1] == RuleLine("counted", matched=True, requested=10, awarded=0, limit=NO_USE)


_DAYS = st.integers(1, 28)
_ORDERS = st.lists(st.tuples(st.sampled_from(["ann", "bob"]), _DAYS, st.integers(0, 60)), max_size=25)


@settings(deadline=None)  # a busy machine is no failure
@given(bought=_ORDERS, most=st.integers(1, 80), times=st.integers(1, 5), scope=st.sampled_from(["customer", "program"]))
def test_each_award_is_exactly_what_the_limits_of_its_periods_leave(
    bought: list[tuple[str, int, int]], most: int, times: int, scope: str
):
    rules = limited(limit("week", scope, points=most), limit("day", scope, count=times), award=per_amount())
    cases = [
        case(f"{points}.00", at=datetime(2026, 2, day, 12, tzinfo=UTC), customer_id=customer)
        for customer, day, points in bought
    ]
    weeks: dict[tuple[str, int], int] = {}
    days: dict[tuple[str, int], int] = {}
    for (customer, day, requested), awarded in zip(bought, points_of(rules, *cases), strict=True):
        owner = customer if scope == "customer" else ""
        week = owner, (day + 5) // 7  # 2 February 2026 is a Monday
        free = most - weeks.get(week, 0) if days.get((owner, day), 0) < times else 0
        assert awarded == min(requested, free)
        weeks[week] = weeks.get(week, 0) + awarded
        days[owner, day] = days.get((owner, day), 0) + (awarded > 0)
