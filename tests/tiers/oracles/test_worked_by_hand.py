"""Worked examples for the model: tiers given by hand, with and without an end, locked and not (T8-T11, T38)."""

from typing import Any

import pytest

from tests.tiers.oracles.facts import Assignment, order
from tests.tiers.oracles.written import (
    CALENDAR,
    GOLD,
    LIFETIME,
    MEMBER,
    SILVER,
    at_end,
    line,
    program,
    t,
    told,
)


def given(at: str, tier: str, until: str | None = None, *, locked: bool = False) -> Assignment:
    return Assignment(t(at), tier, t(until) if until else None, locked)


def test_without_until_it_is_held_as_if_reached():
    outcome = at_end(program(), [], "03-31", given("03-01 12:00", "gold"))
    assert told(outcome) == [
        line("promoted", "gold", "03-01 12:00", "assigned", "03-12"),
        line("demoted", "silver", "03-12", "period_end", "03-22"),
        line("demoted", "member", "03-22", "period_end"),
    ]


def test_without_until_under_at_once_it_is_held_for_the_days():
    # Not at the next midnight (T8): to the end of 11 March, then nothing keeps it.
    outcome = at_end(program(when="at_once", on_publish="full"), [], "03-31", given("03-01", "gold"))
    assert told(outcome) == [
        line("promoted", "gold", "03-01", "assigned", "03-12"),
        line("demoted", "member", "03-12", "period_end"),
    ]


def test_without_until_under_never_and_lifetime_it_is_for_ever():
    for rules in (program(to="never"), program(period=LIFETIME), program(period=LIFETIME, when="at_once")):
        outcome = at_end(rules, [], "2030-01-01", given("03-01", "gold"))
        assert told(outcome) == [line("promoted", "gold", "03-01", "assigned")]


def test_until_ends_at_its_very_instant():
    # No grace: it falls at noon. Earned, nothing kept: member.
    hand = given("03-01", "gold", "03-04 12:00")
    outcome = at_end(program(to="earned"), [], "03-31", hand)
    assert told(outcome) == [
        line("promoted", "gold", "03-01", "assigned", "03-04 12:00"),
        line("demoted", "member", "03-04 12:00", "assignment_ended"),
    ]


def test_the_lower_tier_gets_one_period_from_an_end_inside_a_day():
    # One step; from noon of the 4th to the end of the 10th day after it, the 14th.
    outcome = at_end(program(), [], "03-10", given("03-01", "gold", "03-04 12:00"))
    assert told(outcome)[1:] == [line("demoted", "silver", "03-04 12:00", "assignment_ended", "03-15")]


def test_grace_follows_an_until_and_ends_at_midnight():
    # G is 00:00 of the 2nd day after 4 March, though `until` is at noon (T21).
    outcome = at_end(program(grace_days=2), [], "03-05", given("03-01", "gold", "03-04 12:00"))
    assert (outcome.tier, outcome.valid_until, outcome.grace_until) == ("gold", t("03-04 12:00"), t("03-06"))
    outcome = at_end(program(grace_days=2), [], "03-06", given("03-01", "gold", "03-04 12:00"))
    assert told(outcome)[1:] == [line("demoted", "silver", "03-06", "grace_end", "03-15")]


def test_kept_at_until_for_one_period_from_it():
    # 300 on the 3rd while gold is lent: no promotion. At noon of the 4th kept by 23 February-4 March, to 14 March.
    outcome = at_end(program(), [order(t("03-03"), "300")], "03-05", given("03-01", "gold", "03-04 12:00"))
    assert told(outcome)[1:] == [line("retained", "gold", "03-04 12:00", "assignment_ended", "03-15")]


def test_an_until_inside_a_year_counts_the_year_before_as_well():
    # 300 in November 2025 keep gold on 1 June 2026 (T5), to the end of the year that begins next after it.
    hand = given("2026-05-01", "gold", "2026-06-01")
    outcome = at_end(program(period=CALENDAR, to="earned"), [order(t("2025-11-01"), "150")], "2026-05-02", hand)
    assert outcome.tier == "gold"
    two = [order(t("2025-11-01"), "150"), order(t("2026-02-01"), "299")]
    assert at_end(program(period=CALENDAR, to="earned"), two, "2026-06-01", hand).tier == "silver"
    whole = [order(t("2025-10-01"), "150"), order(t("2025-11-01"), "150")]
    outcome = at_end(program(period=CALENDAR, to="earned"), whole, "2026-06-01", hand)
    assert told(outcome)[-1] == line("retained", "gold", "2026-06-01", "assignment_ended", "2028-01-01")


def test_never_ends_an_until_at_what_was_had_by_right():
    # Silver by right since January, gold lent until Friday: silver on Saturday (T10), not member.
    outcome = at_end(program(to="never"), [order(t("01-01"), "100")], "03-10", given("03-01", "gold", "03-06"))
    assert told(outcome)[1:] == [
        line("promoted", "gold", "03-01", "assigned", "03-06"),
        line("demoted", "silver", "03-06", "assignment_ended"),
    ]


def test_never_ends_an_until_at_the_highest_that_is_kept():
    outcome = at_end(program(to="never"), [], "03-10", given("03-01", "gold", "03-06"))
    assert told(outcome)[1:] == [line("demoted", "member", "03-06", "assignment_ended")]


def test_who_had_been_put_lower_is_at_the_floor_again():
    outcome = at_end(
        program(to="never"), [order(t("03-01"), "300")], "03-20", given("03-02", "member", "03-15", locked=True)
    )
    assert told(outcome)[1:] == [
        line("demoted", "member", "03-02", "assigned"),
        line("promoted", "gold", "03-15", "assignment_ended"),
    ]


def test_only_a_put_without_until_sets_the_floor_anew():
    # Permanent silver by right; member by hand, then gold until the 14th: nothing holds silver any more.
    rules = program(MEMBER, {**SILVER, "permanent": True}, GOLD, to="earned")
    first, second = given("03-02", "member"), given("03-03", "gold", "03-14")
    outcome = at_end(rules, [order(t("03-01"), "100")], "03-20", first, second)
    assert told(outcome)[-1] == line("demoted", "member", "03-14", "assignment_ended")
    # With an end to the first (on the first tier only a lock bears one), silver is the floor still.
    first = given("03-02", "member", "03-20", locked=True)
    outcome = at_end(rules, [order(t("03-01"), "100")], "03-20", first, second)
    assert told(outcome)[-1] == line("demoted", "silver", "03-14", "assignment_ended")


def test_a_lock_lets_nothing_move_and_its_end_judges_promotion():
    # 300 on the 2nd do nothing. At the 5th silver is kept by its period, then gold's `enter` holds: one entry (T12).
    hand = given("03-01", "silver", "03-05", locked=True)
    outcome = at_end(program(), [order(t("03-02"), "300")], "03-04", hand)
    assert (outcome.tier, outcome.locked_until, len(outcome.entries)) == ("silver", t("03-05"), 1)
    outcome = at_end(program(), [order(t("03-02"), "300")], "03-06", hand)
    assert told(outcome)[1:] == [line("promoted", "gold", "03-05", "assignment_ended", "03-16")]


def test_a_lock_on_the_first_tier_bears_no_valid_until():
    outcome = at_end(program(), [order(t("03-02"), "100")], "03-03", given("03-01", "member", "03-04", locked=True))
    assert (outcome.tier, outcome.valid_until, outcome.locked_until) == ("member", None, t("03-04"))
    assert told(outcome) == [line("retained", "member", "03-01", "assigned")]
    outcome = at_end(program(), [order(t("03-02"), "100")], "03-04", given("03-01", "member", "03-04", locked=True))
    assert told(outcome)[1:] == [line("promoted", "silver", "03-04", "assignment_ended", "03-15")]


def test_what_is_given_stands_until_the_next_event_that_counts():
    # Gold by right, member by hand on the 2nd. Nothing on its own; one review on the 4th judges promotion (T11).
    bought = order(t("03-01"), "300")
    assert at_end(program(), [bought], "03-09", given("03-02", "member")).tier == "member"
    outcome = at_end(program(), [bought, order(t("03-04"), "0.01")], "03-09", given("03-02", "member"))
    assert told(outcome)[2:] == [line("promoted", "gold", "03-04", "spend", "03-15")]


def test_a_promotion_ends_an_unlocked_assignment():
    outcome = at_end(program(), [order(t("03-02"), "300")], "03-06", given("03-01", "silver", "03-05"))
    assert told(outcome)[1:] == [line("promoted", "gold", "03-02", "spend", "03-13")]


def test_a_given_tier_is_not_revoked_until_it_is_kept():
    # 300 on the 2nd, given back on the 4th: gold is given, it stays. V 12 March.
    bought = [order(t("03-02"), "300", (t("03-04"), "300"))]
    outcome = at_end(program(on_refund="revoke"), bought, "03-11", given("03-01", "gold"))
    assert (outcome.tier, outcome.valid_until) == ("gold", t("03-12"))
    # Kept on 12 March by what is given back on the 13th: now it stands on that.
    bought = [order(t("03-02"), "300", (t("03-13"), "300"))]
    outcome = at_end(program(on_refund="revoke"), bought, "03-13", given("03-01", "gold"))
    assert told(outcome)[1:] == [
        line("retained", "gold", "03-12", "period_end", "03-22"),
        line("demoted", "member", "03-13", "refund"),
    ]


def test_a_new_assignment_replaces_the_one_before_with_its_lock():
    first, second = given("03-01", "gold", "03-20", locked=True), given("03-02", "silver")
    outcome = at_end(program(), [order(t("03-03"), "300")], "03-03", first, second)
    assert told(outcome)[1:] == [
        line("demoted", "silver", "03-02", "assigned", "03-13"),
        line("promoted", "gold", "03-03", "spend", "03-14"),
    ]
    assert outcome.locked_until is None


def test_the_same_tier_again_is_retained():
    outcome = at_end(program(), [order(t("03-01"), "100")], "03-05", given("03-02", "silver"))
    assert told(outcome)[1:] == [line("retained", "silver", "03-02", "assigned", "03-13")]
    assert outcome.since == t("03-01")


def test_a_tier_had_by_right_and_given_again_is_not_revoked():
    bought = [order(t("03-01"), "300", (t("03-03"), "300"))]
    outcome = at_end(program(on_refund="revoke"), bought, "03-05", given("03-02", "gold", "03-20"))
    assert (outcome.tier, outcome.valid_until) == ("gold", t("03-20"))


def test_what_is_given_stands_at_the_instant_of_an_order():
    # 300 and silver until the 20th at one instant: gold was not reached. At the 20th nothing holds (10-19 March).
    hand = given("03-01", "silver", "03-20")
    outcome = at_end(program(to="never"), [order(t("03-01"), "300")], "03-20", hand)
    assert told(outcome) == [
        line("promoted", "silver", "03-01", "assigned", "03-20"),
        line("demoted", "member", "03-20", "assignment_ended"),
    ]


@pytest.mark.parametrize("rules", [program(to="never", grace_days=3), program(period=LIFETIME, grace_days=3)])
def test_without_periods_an_until_ends_there_and_then(rules: dict[str, Any]):
    # No grace, and to the highest lower one that is kept, not one step down: member (T9).
    outcome = at_end(rules, [], "03-06", given("03-01", "gold", "03-06"))
    assert told(outcome)[1:] == [line("demoted", "member", "03-06", "assignment_ended")]


def test_an_unlocked_until_on_the_first_tier_means_nothing():
    rules = program(MEMBER, {**SILVER, "permanent": True}, GOLD)
    outcome = at_end(rules, [order(t("03-01"), "100")], "03-31", given("03-02", "member", "03-20"))
    assert told(outcome)[1:] == [line("demoted", "member", "03-02", "assigned")]


def test_at_once_leaves_alone_what_is_given_whatever_happens():
    outcome = at_end(
        program(when="at_once", on_publish="full"),
        [order(t("03-02"), "5", (t("03-03"), "5"))],
        "03-11",
        given("03-01", "gold"),
    )
    assert (outcome.tier, len(outcome.entries)) == ("gold", 1)
