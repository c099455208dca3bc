"""Worked examples for the model: promotion, `valid_until`, grace and falls, by hand."""

import pytest

from tests.tiers.oracles.facts import order, single
from tests.tiers.oracles.written import GOLD, MEMBER, SILVER, at_end, line, program, spend, t, tier, told

GOLD_ON_MARCH_1 = line("promoted", "gold", "03-01 12:00", "spend", "03-12")


def gold(at: str = "03-01 12:00"):
    return order(t(at), "300")


# Promotion.


@pytest.mark.parametrize("total, reached", [("99.9999", "member"), ("100", "silver"), ("299.99", "silver")])
def test_a_tier_begins_exactly_at_its_need(total: str, reached: str):
    assert at_end(program(), [order(t("03-01"), total)], "03-01").tier == reached


def test_several_tiers_at_once_are_one_event():
    # Silver is skipped. Held to the end of the 10th day after 1 March, the 11th: V = 12 March 00:00 (T3).
    outcome = at_end(program(), [gold()], "03-05")
    assert told(outcome) == [GOLD_ON_MARCH_1]
    assert (outcome.since, outcome.points_multiplier) == (t("03-01 12:00"), "1.5")


@pytest.mark.parametrize("second, reached", [("03-10 23:59", "silver"), ("03-11", "member")])
def test_the_window_is_ten_days_that_end_with_the_day(second: str, reached: str):
    # The window of 10 March is 1-10 March; of 11 March 2-11 March, without the first order.
    orders = [order(t("03-01"), "60"), order(t(second), "40")]
    assert at_end(program(), orders, "03-11 12:00").tier == reached


def test_the_first_condition_that_did_not_hold_before_is_the_reason():
    # At 2 March both lists are looked at; the first that holds is (orders, reviews), and the review is new (T32).
    enter = [[{"metric": "spend", "at_least": "500"}]]
    enter += [[{"metric": "orders", "at_least": 1}, {"metric": "reviews", "at_least": 1}]]
    rules = program(MEMBER, tier("silver", enter))
    outcome = at_end(rules, [order(t("03-01"), "5"), single("reviews", t("03-02"))], "03-03")
    assert told(outcome) == [line("promoted", "silver", "03-02", "reviews", "03-13")]


def test_money_counts_by_rates_exactly_and_orders_in_any_currency():
    # 375 SAR x 0.2667 = 100.0125 USD; 374.95 SAR = 99.999165 USD is below 100; EUR has no rate, its order counts.
    rules = program(MEMBER, SILVER, rates={"SAR": "0.2667"})
    assert at_end(rules, [order(t("03-01"), "375", currency="SAR")], "03-01").tier == "silver"
    outcome = at_end(
        rules, [order(t("03-01"), "374.95", currency="SAR"), order(t("03-01"), "9", currency="EUR")], "03-01"
    )
    assert (outcome.tier, outcome.metrics["orders"]) == ("member", 2)
    assert str(outcome.metrics["spend"]) == "19999833/200000"


def test_activities_count_by_name():
    rules = program(MEMBER, tier("fan", [[{"metric": "activities", "activity": "quiz", "at_least": 2}]]))
    quiz, visit = single("activities", t("03-01"), name="quiz"), single("activities", t("03-02"), name="visit")
    assert at_end(rules, [quiz, visit], "03-03").tier == "member"
    outcome = at_end(rules, [quiz, visit, single("activities", t("03-03"), name="quiz")], "03-03")
    assert (outcome.tier, outcome.metrics["activities"], outcome.activities["quiz"]) == ("fan", 3, 2)


def test_a_refund_before_its_purchase_counts_from_the_purchase_on():
    outcome = at_end(program(), [order(t("03-02"), "100", (t("03-01"), "0.01"))], "03-05")
    assert told(outcome) == []


def test_the_second_promotion_sets_valid_until_anew():
    # 100 on 1 March: silver to 12 March. 200 on 5 March: 300 in the window, gold to 16 March.
    outcome = at_end(program(), [order(t("03-01"), "100"), order(t("03-05"), "200")], "03-05")
    assert told(outcome) == [
        line("promoted", "silver", "03-01", "spend", "03-12"),
        line("promoted", "gold", "03-05", "spend", "03-16"),
    ]


# At `valid_until`.


@pytest.mark.parametrize(
    "second, kind", [("03-02", "retained"), ("03-11 23:59", "retained"), ("03-01 23:59", "demoted")]
)
def test_kept_by_the_ten_days_before_valid_until(second: str, kind: str):
    # The period is 2-11 March: the day that lifted the customer is not counted again, all of it (T3).
    outcome = at_end(program(), [gold(), gold(second)], "03-12")
    expected = "gold" if kind == "retained" else "silver"
    assert told(outcome) == [GOLD_ON_MARCH_1, line(kind, expected, "03-12", "period_end", "03-22")]


def test_an_order_at_valid_until_comes_after_it():
    # At 12 March 00:00 gold falls to silver, then the order promotes: one entry, gold before and after (T17).
    outcome = at_end(program(), [gold(), gold("03-12")], "03-12")
    assert told(outcome) == [GOLD_ON_MARCH_1, line("retained", "gold", "03-12", "spend", "03-23")]
    assert outcome.since == t("03-01 12:00")


def test_one_step_at_a_time():
    outcome = at_end(program(), [gold()], "04-30")
    assert told(outcome) == [
        GOLD_ON_MARCH_1,
        line("demoted", "silver", "03-12", "period_end", "03-22"),
        line("demoted", "member", "03-22", "period_end"),
    ]


@pytest.mark.parametrize("small, landed, end", [("100", "silver", "03-22"), ("99.99", "member", None)])
def test_earned_falls_to_the_highest_that_the_period_holds(small: str, landed: str, end: str | None):
    outcome = at_end(program(to="earned"), [gold(), order(t("03-05"), small)], "03-12")
    assert told(outcome)[-1] == line("demoted", landed, "03-12", "period_end", end)


def test_a_kept_tier_may_be_kept_by_its_enter():
    # `keep` (400 spent) never holds, three reviews in 2-11 March do: retained (T2).
    silver = tier("silver", [[{"metric": "reviews", "at_least": 1}]], keep=spend("400"))
    outcome = at_end(program(MEMBER, silver), [single("reviews", t("03-01")), single("reviews", t("03-04"))], "03-12")
    assert told(outcome)[-1] == line("retained", "silver", "03-12", "period_end", "03-22")


def test_keep_may_be_easier_than_enter():
    # 50 in 2-11 March keep silver, 49.99 in 12-21 March do not.
    silver = tier("silver", spend("100"), keep=spend("50"))
    outcome = at_end(
        program(MEMBER, silver),
        [order(t("03-01"), "100"), order(t("03-03"), "50"), order(t("03-15"), "49.99")],
        "03-22",
    )
    assert told(outcome)[1:] == [
        line("retained", "silver", "03-12", "period_end", "03-22"),
        line("demoted", "member", "03-22", "period_end"),
    ]


# Grace.


def test_grace_ends_at_midnight_of_its_last_day_and_the_lower_tier_counts_from_valid_until():
    # V 12 March, G = 00:00 of the 3rd day after, 15 March. Silver has one period from V: to 22 March.
    outcome = at_end(program(grace_days=3), [gold()], "03-14")
    assert (outcome.tier, outcome.valid_until, outcome.grace_until) == ("gold", t("03-12"), t("03-15"))
    assert told(outcome) == [GOLD_ON_MARCH_1]
    outcome = at_end(program(grace_days=3), [gold()], "03-15")
    assert told(outcome)[1:] == [line("demoted", "silver", "03-15", "grace_end", "03-22")]


def test_kept_in_grace_as_if_reached_then():
    # 14 March: its window 5-14 March has 300. Held to the end of the 10th day after: V = 25 March.
    outcome = at_end(program(grace_days=3), [gold(), gold("03-14")], "03-15")
    assert told(outcome)[1:] == [line("retained", "gold", "03-14", "spend", "03-25")]
    assert outcome.grace_until is None


def test_the_own_window_in_grace_reaches_back_before_valid_until():
    # 200 on 10 March and 100 on 13 March are 300 in 4-13 March, though neither alone keeps gold.
    outcome = at_end(program(grace_days=3), [gold(), order(t("03-10"), "200"), order(t("03-13"), "100")], "03-13")
    assert told(outcome)[1:] == [line("retained", "gold", "03-13", "spend", "03-24")]


def test_an_order_when_grace_ends_comes_after_the_fall():
    # Silver at 15 March 00:00, and the order lifts again at the same instant: one entry, held as reached.
    outcome = at_end(program(grace_days=3), [gold(), gold("03-15")], "03-15")
    assert told(outcome)[1:] == [line("retained", "gold", "03-15", "spend", "03-26")]


def test_a_refund_in_grace_does_not_count_against_the_period_that_ended():
    # Earned: 100 of 5 March made silver hold at V; it is given back on the 13th, in grace (T15).
    orders = [gold(), order(t("03-05"), "100", (t("03-13"), "100"))]
    outcome = at_end(program(to="earned", grace_days=3), orders, "03-15")
    assert told(outcome)[1:] == [line("demoted", "silver", "03-15", "grace_end", "03-22")]


def test_promotion_in_grace_ends_it():
    plus = tier("platinum", spend("1000"))
    outcome = at_end(program(MEMBER, SILVER, GOLD, plus, grace_days=3), [gold(), order(t("03-13"), "1000")], "03-20")
    assert told(outcome)[1:] == [line("promoted", "platinum", "03-13", "spend", "03-24")]


def test_two_steps_with_grace_each():
    # Gold falls on 15 March; silver's V is 22 March, its grace ends on the 25th.
    outcome = at_end(program(grace_days=3), [gold()], "03-31")
    assert told(outcome)[1:] == [
        line("demoted", "silver", "03-15", "grace_end", "03-22"),
        line("demoted", "member", "03-25", "grace_end"),
    ]


# Never, permanent, at once.


def test_never_has_no_end():
    outcome = at_end(program(to="never"), [order(t("03-01"), "300", (t("03-02"), "300"))], "2027-03-01")
    assert told(outcome) == [line("promoted", "gold", "03-01", "spend")]


def test_a_permanent_tier_is_never_left():
    outcome = at_end(program(MEMBER, {**SILVER, "permanent": True}, GOLD), [order(t("03-01"), "100")], "04-30")
    assert told(outcome) == [line("promoted", "silver", "03-01", "spend")]


def test_a_permanent_tier_is_a_floor_for_who_reached_it():
    # Silver on 1 March, gold on 2 March (V 13 March); earned would lead to member, silver is the floor (T10).
    rules = program(MEMBER, {**SILVER, "permanent": True}, GOLD, to="earned")
    outcome = at_end(rules, [order(t("03-01"), "100"), order(t("03-02"), "200")], "04-30")
    assert told(outcome)[-1] == line("demoted", "silver", "03-13", "period_end")


def test_a_permanent_tier_that_was_skipped_was_not_reached():
    rules = program(MEMBER, {**SILVER, "permanent": True}, GOLD, to="earned")
    assert told(at_end(rules, [gold()], "04-30"))[-1] == line("demoted", "member", "03-12", "period_end")


def test_at_once_a_day_leaves_the_window():
    # The window of 10 March still has 1 March; at 11 March 00:00 it has not: to member in one event (T7).
    outcome = at_end(program(when="at_once", on_publish="full"), [gold()], "03-31")
    assert told(outcome) == [
        line("promoted", "gold", "03-01 12:00", "spend"),
        line("demoted", "member", "03-11", "window"),
    ]


def test_at_once_falls_to_the_highest_that_is_kept_now():
    # 1 March 200, 5 March 100: gold from 5 March; at 11 March 100 is left: silver; at 15 March member.
    orders = [order(t("03-01"), "200"), order(t("03-05"), "100")]
    outcome = at_end(program(when="at_once", on_publish="full"), orders, "03-31")
    assert told(outcome)[1:] == [
        line("promoted", "gold", "03-05", "spend"),
        line("demoted", "silver", "03-11", "window"),
        line("demoted", "member", "03-15", "window"),
    ]


@pytest.mark.parametrize("back, landed", [("0.01", "silver"), ("200", "silver"), ("200.01", "member")])
def test_at_once_a_refund_lowers(back: str, landed: str):
    outcome = at_end(
        program(when="at_once", on_publish="full"), [order(t("03-01"), "300", (t("03-02"), back))], "03-03"
    )
    assert told(outcome)[1:] == [line("demoted", landed, "03-02", "refund")]


@pytest.mark.parametrize("metric, reason", [("reviews", "withdrawal"), ("referrals", "referrals")])
def test_at_once_what_is_withdrawn_or_voided_lowers(metric: str, reason: str):
    rules = program(MEMBER, tier("silver", [[{"metric": metric, "at_least": 1}]]), when="at_once", on_publish="full")
    outcome = at_end(rules, [single(metric, t("03-01"), t("03-02"))], "03-03")
    assert told(outcome)[1:] == [line("demoted", "member", "03-02", reason)]
