"""Warnings about valid rules: for each warning a table of rules that get it, and one of near misses that do not.

Planted and caught here: a week that lies within a month; a warning about both of two equal limits; a limit per SKU
that is wider than one per customer; hours past midnight read as the hours between; local times compared instead of
instants; the wider of two conditions taken for the narrower; only the last of two conditions of a kind counted;
amounts cut to whole numbers; a review whose text always has a length.
"""

import pytest

from services.points.rules.program.document import Document
from services.points.rules.program.lint import lint
from services.points.rules.program.values import WEEKDAYS
from shared.programs.faults import DocumentError
from tests.points.rule_parts import (
    EVENTS,
    FIRST,
    NOW,
    PER_AMOUNT,
    PHOTO,
    TEN,
    VERIFIED,
    Json,
    activity,
    amount,
    days,
    document,
    grouped,
    hours,
    is_in,
    length,
    multiplier,
    nth,
    rating,
    rule,
    score,
    survey,
    window,
)


@pytest.mark.parametrize(
    "doubtful, place, word",
    [
        (rule(window("2026-05-01", "2026-06-01")), 0, "over since 2026-06-01"),
        (rule(FIRST, window("2026-05-01", "2026-05-31T23:59:00-00:01")), 1, "over since"),
        (rule(window("2026-06-01", "2026-07-01"), window("2026-07-01", "2026-08-01")), 1, "no moment"),
        (rule(window("2026-06-01", "2026-07-01"), window("2026-07-01T02:00:00+02:00", "2026-08-01")), 1, "no moment"),
        (rule(hours("08:00", "12:00"), hours("12:00", "14:00")), 1, "no time of the day"),
        (rule(hours("22:00", "06:00"), hours("06:00", "22:00")), 1, "no time of the day"),
        (rule(hours("00:00", "08:00"), hours("07:00", "13:00"), hours("12:00", "01:00")), 2, "no time of the day"),
        (rule(days("mon", "tue"), days("wed")), 1, "no day"),
        (rule(days("mon", "tue"), days("tue", "wed"), days("wed", "mon")), 2, "no day"),
        (rule(is_in("channel", "web"), is_in("channel", "app")), 1, "no channel"),
        (rule(is_in("store", "1"), amount("5"), is_in("store", "2", "3")), 2, "no store"),
        (rule(is_in("currency", "USD"), is_in("currency", "EUR")), 1, "no currency"),
        (rule(is_in("currency", "USD", "GBP"), is_in("currency", "EUR", "GBP")), 1, "no currency"),
        (rule(is_in("currency", "GBP", "usd")), 0, "has a rate"),
        (rule(is_in("tier", "silver"), is_in("tier", "gold"), on="birthday"), 1, "no tier"),
        (rule(is_in("tier", "Gold", "platinum")), 0, "none of these tiers"),
        (rule(is_in("category", "tea"), is_in("category", "coffee")), 1, "no category"),
        (rule(is_in("sku", "1"), is_in("category", "tea"), is_in("sku", "2")), 2, "no product"),
        (rule(is_in("sku", "1"), is_in("sku", "2"), on="review"), 1, "no product"),
        (rule(activity("quiz"), activity("share"), on="activity"), 1, "no activity"),
        (rule(survey("nps"), survey("csat"), on="survey"), 1, "no survey"),
        (rule(FIRST, nth(2)), 1, "first purchase"),
        (rule(nth(1), nth(10), FIRST), 1, "first purchase"),
        (rule(survey("csat"), score(6), on="survey"), 1, "5 at most"),
        (rule(score(10), survey("csat"), on="survey"), 0, "5 at most"),
    ],
)
def test_a_rule_that_never_matches(doubtful: Json, place: int, word: str):
    [fault] = lint(document(rule(), doubtful), NOW)
    assert fault.pointer == f"/rules/1/when/{place}"
    assert word in fault.message


@pytest.mark.parametrize(
    "condition, on",
    [
        (amount("0.0001"), {"purchase"}),
        (is_in("category", "tea"), {"purchase"}),
        (is_in("channel", "web"), {"purchase"}),
        (is_in("store", "1"), {"purchase"}),
        (is_in("currency", "USD"), {"purchase"}),
        (FIRST, {"purchase"}),
        (nth(1), {"purchase"}),
        (is_in("sku", "1"), {"purchase", "review"}),
        (rating(1), {"review"}),
        (VERIFIED, {"review"}),
        (length(0), {"review"}),
        (PHOTO, {"review"}),
        (activity("quiz"), {"activity"}),
        (survey("nps"), {"survey"}),
        (score(0), {"survey"}),
        (amount("0.00"), set(EVENTS)),
        (window("2026-05-01", "2026-07-01"), set(EVENTS)),
        (days("mon"), set(EVENTS)),
        (hours("22:00", "06:00"), set(EVENTS)),
        (is_in("tier", "gold"), set(EVENTS)),
    ],
)
def test_a_condition_on_an_event_that_never_satisfies_it(condition: Json, on: set[str]):
    for event in EVENTS:
        warnings = lint(document(rule(days("mon"), condition, on=event)), NOW)
        assert [warning.pointer for warning in warnings] == ([] if event in on else ["/rules/0/when/1"])
        assert all("): only " in warning.message for warning in warnings)


@pytest.mark.parametrize(
    "doubtful, name",
    [
        (rule(is_in("tier", "none")), "rule rule-0 (10 points for a purchase): none of these tiers"),
        (rule(FIRST, on="tier_promotion", award=TEN), "rule rule-0 (10 points for a promotion to a tier): only"),
        (
            rule(days("mon"), days("tue"), award=PER_AMOUNT),
            "rule rule-0 (1 point per 1.00 of a purchase): no day meets",
        ),
        (rule(award=multiplier("1.5")), "rule rule-0 (x 1.5 on what a purchase gives per amount): there is nothing"),
    ],
)
def test_a_warning_names_its_rule_by_id_and_in_words(doubtful: Json, name: str):
    [fault] = lint(document(doubtful), NOW)
    assert fault.message.startswith(name)


def test_a_warning_about_a_shadowed_rule_names_both_rules():
    [fault] = lint(document(grouped(award=PER_AMOUNT), grouped()), NOW)
    assert fault.message == (
        "rule rule-1 (10 points for a purchase): rule rule-0 (1 point per 1.00 of a purchase) stands earlier in this "
        "exclusive group and matches whenever this one does"
    )


def test_a_warning_names_the_events_that_a_condition_suits():
    [fault] = lint(document(rule(is_in("sku", "1"), on="tier_promotion")), NOW)
    assert fault.message == (
        "rule rule-0 (10 points for a promotion to a tier): "
        "only purchase and review events have a product: a rule for tier promotion events never matches"
    )


def test_all_warnings_about_a_rule_are_listed():
    warnings = lint(
        document(
            rule(
                rating(3),
                days("mon"),
                days("tue"),
                window("2025-01-01", "2025-02-01"),
                limits=[{"count": 1, "per": "order", "scope": "customer"}],
            )
        ),
        NOW,
    )
    assert [warning.pointer for warning in warnings] == [
        "/rules/0/when/0",
        "/rules/0/when/2",
        "/rules/0/when/3",
        "/rules/0/limits/0",
    ]


def test_a_window_within_the_hour_that_a_change_of_clocks_skips_is_refused():
    # 02:30 does not exist on that day and counts as 03:30; 03:00 is before it.
    lost = rule(window("2027-03-28T02:30", "2027-03-28T03:00"))
    with pytest.raises(DocumentError, match="/rules/0/when/0/to: a window must end after it begins"):
        document(lost, time_zone="Europe/Berlin")
    assert lint(document(lost, time_zone="UTC"), NOW) == []


def test_a_window_ends_in_the_programs_time_zone():
    ends = rule(window("2026-05-01", "2026-06-01"))
    assert lint(document(ends, time_zone="America/New_York"), NOW) == []
    assert lint(document(ends, time_zone="Europe/Berlin"), NOW) != []
    everything = rule(window("0001-01-01", "9999-12-31"))
    assert lint(document(everything, time_zone="Asia/Tokyo"), NOW) == []


@pytest.mark.parametrize(
    "fine",
    [
        rule(window("2026-05-01", "2026-06-01T00:00:01")),
        rule(window("2026-06-01", "2026-07-02"), window("2026-07-01", "2026-08-01")),
        rule(window("2026-06-01", "2026-07-01"), window("2026-07-01T01:59:59+02:00", "2026-08-01")),
        rule(hours("08:00", "12:01"), hours("12:00", "14:00")),
        rule(hours("22:00", "06:01"), hours("06:00", "22:00")),
        rule(hours("22:00", "06:00"), hours("23:00", "01:00")),
        rule(days("mon", "tue"), days("tue", "wed")),
        rule(is_in("channel", "web"), is_in("store", "app")),
        rule(is_in("channel", "web", "app"), is_in("channel", "app")),
        rule(is_in("currency", "EUR", "GBP"), is_in("currency", "EUR")),
        rule(is_in("tier", "platinum", "gold")),
        rule(is_in("category", "tea", "coffee"), is_in("sku", "tea"), is_in("category", "coffee", "cake")),
        rule(activity("quiz"), activity("quiz"), on="activity"),
        rule(survey("csat"), score(5), on="survey"),
        rule(survey("nps"), score(10), on="survey"),
        rule(score(10), on="survey"),
        rule(FIRST, nth(1)),
        rule(nth(2), nth(3)),
        rule(rating(5), length(10**6), VERIFIED, PHOTO, on="review"),
    ],
)
def test_a_rule_that_may_match(fine: Json):
    assert lint(document(fine), NOW) == []


def limited(*kept: tuple[int, str, str], award: Json = PER_AMOUNT, on: str = "purchase") -> Document:
    """A document with limits, each as (value, unit/period, scope)."""
    parts: list[Json] = []
    for value, unit_per, scope in kept:
        unit, _, per = unit_per.partition("/")
        parts.append({unit: value, "per": per, "scope": scope})
    return document(rule(award=award, on=on, limits=parts))


@pytest.mark.parametrize(
    "limited_rule, place, word",
    [
        (limited((1, "count/order", "customer")), 0, "once per order"),
        (limited((5, "count/day", "customer"), (5, "count/order", "program")), 1, "once per order"),
        (limited((10, "points/order", "customer"), award=TEN), 0, "10 points"),
        (limited((11, "points/order", "customer"), award=TEN, on="birthday"), 0, "10 points"),
        (limited((2, "count/day", "customer"), (2, "count/day", "customer")), 1, "limit 1 "),
        (limited((9, "points/order", "customer"), (9, "points/order", "customer_sku"), award=TEN), 1, "limit 1 "),
        (limited((9, "points/order", "program"), (8, "points/day", "customer_sku"), award=TEN), 0, "limit 2 "),
        (limited((3, "count/day", "customer"), (2, "count/day", "customer")), 0, "limit 2 "),
        (limited((3, "count/day", "customer"), (3, "count/week", "customer")), 0, "limit 2 "),
        (limited((3, "count/day", "customer"), (3, "count/month", "customer")), 0, "limit 2 "),
        (limited((3, "count/week", "customer"), (3, "count/ever", "customer")), 0, "limit 2 "),
        (limited((3, "count/month", "customer"), (3, "count/year", "program")), 0, "limit 2 "),
        (limited((3, "count/year", "customer_sku"), (1, "count/ever", "customer")), 0, "limit 2 "),
        (limited((9, "points/ever", "program"), (9, "points/year", "customer")), 1, "limit 1 "),
        (limited((99, "points/order", "customer"), (99, "points/week", "customer")), 0, "limit 2 "),
        (
            limited((2, "count/day", "customer"), (2, "count/day", "customer_sku"), on="review", award=TEN),
            1,
            "limit 1 ",
        ),
        (limited((3, "count/day", "customer"), (30, "points/day", "customer"), award=TEN), 1, "limit 1 "),
        (limited((30, "points/day", "customer_sku"), (3, "count/month", "program"), award=TEN), 0, "limit 2 "),
    ],
)
def test_a_limit_that_changes_nothing(limited_rule: Document, place: int, word: str):
    [fault] = lint(limited_rule, NOW)
    assert fault.pointer == f"/rules/0/limits/{place}"
    assert word in fault.message


@pytest.mark.parametrize(
    "fine",
    [
        limited((10, "points/order", "customer")),
        limited((9, "points/order", "customer"), award=TEN),
        limited((10, "points/day", "customer"), award=TEN),
        limited((2, "count/day", "customer"), (3, "count/week", "customer")),
        limited((3, "count/week", "customer"), (3, "count/month", "customer")),
        limited((3, "count/week", "customer"), (3, "count/year", "customer")),
        limited((3, "count/day", "customer"), (2, "count/day", "customer_sku")),
        limited((3, "count/day", "program"), (2, "count/day", "customer")),
        limited((3, "count/day", "program"), (3, "count/ever", "customer")),
        limited((1, "count/day", "customer"), (2, "count/day", "program")),
        limited((3, "count/day", "customer"), (1, "points/day", "customer")),
        limited((3, "count/day", "customer"), (30, "points/day", "customer")),
        limited((3, "count/day", "customer"), (29, "points/day", "customer"), award=TEN),
        limited((3, "count/day", "customer"), (30, "points/week", "customer"), award=TEN),
        limited((3, "count/day", "customer_sku"), (30, "points/day", "customer"), award=TEN),
        limited((100, "points/order", "customer"), (101, "points/day", "customer")),
    ],
)
def test_a_limit_that_may_change_something(fine: Document):
    assert lint(fine, NOW) == []


@pytest.mark.parametrize(
    "earlier, later",
    [
        (grouped(), grouped()),
        (grouped(), grouped(is_in("category", "tea"), amount("5"))),
        (grouped(on="registration"), grouped(on="registration", award=TEN)),
        (grouped(amount("0"), nth(1), days(*WEEKDAYS)), grouped()),
        (grouped(rating(1), on="review"), grouped(on="review")),
        (grouped(score(0), on="survey"), grouped(survey("nps"), on="survey")),
        (grouped(amount("5.00")), grouped(amount("5"))),
        (grouped(amount("9.9999")), grouped(amount("1"), amount("10.0"))),
        (grouped(rating(3), on="review"), grouped(PHOTO, rating(4), on="review")),
        (grouped(length(20), PHOTO, on="review"), grouped(VERIFIED, PHOTO, length(30), on="review")),
        (grouped(score(7), on="survey"), grouped(score(9), on="survey")),
        (grouped(survey("nps"), on="survey"), grouped(survey("nps"), score(9), on="survey")),
        (grouped(activity("quiz"), on="activity"), grouped(activity("quiz"), on="activity")),
        (grouped(nth(5)), grouped(nth(10))),
        (grouped(nth(6)), grouped(nth(2), nth(3))),
        (grouped(FIRST), grouped(FIRST, is_in("tier", "gold"))),
        (grouped(is_in("category", "tea", "cake")), grouped(is_in("category", "tea"))),
        (grouped(is_in("category", "tea")), grouped(is_in("sku", "1"), is_in("category", "tea"))),
        (grouped(is_in("channel", "a", "b")), grouped(is_in("channel", "a", "c"), is_in("channel", "a", "d"))),
        (grouped(days("sat", "sun")), grouped(days("sun"))),
        (grouped(hours("20:00", "08:00")), grouped(hours("23:30", "01:00"))),
        (grouped(hours("08:00", "20:00")), grouped(hours("08:00", "19:59"))),
        (grouped(hours("20:00", "08:00")), grouped(hours("22:00", "23:00"))),
        (
            grouped(window("2026-06-01", "2026-07-01")),
            grouped(window("2026-06-01T00:00:00Z", "2026-06-30T23:30:00-00:30")),
        ),
    ],
)
def test_a_rule_shadowed_by_an_earlier_one_of_its_group(earlier: Json, later: Json):
    [fault] = lint(document(rule(nth(7), exclusive_group="another"), earlier, later), NOW)
    assert fault.pointer == "/rules/2"
    assert "rule-1" in fault.message


@pytest.mark.parametrize(
    "earlier, later",
    [
        (rule(), rule()),
        (rule(), grouped()),
        (grouped(), rule()),
        (grouped(), grouped(exclusive_group="other")),
        (grouped(on="referral"), grouped(on="registration")),
        (grouped(amount("5")), grouped()),
        (grouped(amount("5")), grouped(amount("4.9999"))),
        (grouped(amount("5.2")), grouped(amount("5.1"))),
        (grouped(rating(2), on="review"), grouped(on="review")),
        (grouped(length(0), on="review"), grouped(on="review")),
        (grouped(PHOTO, on="review"), grouped(VERIFIED, on="review")),
        (grouped(score(1), on="survey"), grouped(on="survey")),
        (grouped(survey("nps"), on="survey"), grouped(survey("csat"), on="survey")),
        (grouped(activity("quiz"), on="activity"), grouped(activity("share"), on="activity")),
        (grouped(nth(10)), grouped(nth(5))),
        (grouped(nth(4)), grouped(nth(6))),
        (grouped(FIRST), grouped()),
        (grouped(is_in("category", "tea")), grouped(is_in("category", "tea", "cake"))),
        (grouped(is_in("category", "tea")), grouped(is_in("sku", "tea"))),
        (grouped(is_in("category", "tea"), is_in("sku", "1")), grouped(is_in("category", "tea"))),
        (grouped(is_in("tier", "member", "silver", "gold")), grouped()),
        (grouped(is_in("tier", "gold")), grouped(is_in("tier", "gold", "platinum"))),
        (grouped(days("sat")), grouped(days("sat", "sun"))),
        (grouped(hours("08:00", "20:00")), grouped(hours("08:00", "20:01"))),
        (grouped(hours("20:00", "08:00")), grouped(hours("07:00", "21:00"))),
        (grouped(window("2026-06-01", "2026-07-01")), grouped(window("2026-06-01", "2026-07-01T00:00:01"))),
        (grouped(window("2026-06-01", "2026-07-01")), grouped()),
    ],
)
def test_a_rule_that_no_earlier_one_shadows(earlier: Json, later: Json):
    assert lint(document(earlier, later), NOW) == []


def test_a_shadowed_rule_gets_one_warning():
    warnings = lint(document(grouped(days("sat")), grouped(), grouped(days("sat"))), NOW)
    assert [(warning.pointer, "rule-0" in warning.message) for warning in warnings] == [("/rules/2", True)]


def test_a_rule_that_never_matches_shadows_nothing():
    warnings = lint(document(grouped(nth(1), on="review"), grouped(on="review"), grouped(rating(5), on="review")), NOW)
    assert [warning.pointer for warning in warnings] == ["/rules/0/when/0", "/rules/2"]
    assert "rule-1" in warnings[1].message


@pytest.mark.parametrize(
    "rules, pointers",
    [
        ((rule(award=PER_AMOUNT), rule(award=multiplier("1"))), ["/rules/1/award/factor"]),
        ((rule(award=multiplier("1.000")), rule(award=PER_AMOUNT)), ["/rules/0/award/factor"]),
        ((rule(award=multiplier("2")), rule()), ["/rules/0/award"]),
        ((rule(award=multiplier("1")),), ["/rules/0/award/factor", "/rules/0/award"]),
        ((grouped(days("sat"), award=multiplier("2")), grouped(award=PER_AMOUNT)), ["/rules/0/award"]),
        ((grouped(amount("9"), award=PER_AMOUNT), grouped(award=multiplier("2"))), ["/rules/1/award"]),
        ((rule(award=multiplier("1.0001")), rule(award=PER_AMOUNT)), []),
        ((rule(award=multiplier("2")), grouped(award=PER_AMOUNT)), []),
        ((grouped(amount("9"), award=multiplier("2")), rule(award=PER_AMOUNT), grouped(award=PER_AMOUNT)), []),
    ],
)
def test_a_multiplier_that_adds_nothing(rules: tuple[Json, ...], pointers: list[str]):
    assert [warning.pointer for warning in lint(document(*rules), NOW)] == pointers
