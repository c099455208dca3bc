"""Worked examples for the model: what a refund takes from a tier, with `keep` and `revoke` (answers.md T16)."""

from typing import Any

import pytest

from tests.tiers.oracles.facts import order, points, single
from tests.tiers.oracles.written import GOLD, MEMBER, SILVER, at_end, line, program, spend, t, tier, told


def revoking(*tiers: Any, **fields: Any) -> dict[str, Any]:
    return program(*tiers, **({"on_refund": "revoke"} | fields))


MODES = [{"to": "never"}, {"to": "one_step"}, {"to": "earned"}, {"to": "one_step", "grace_days": 3}]


@pytest.mark.parametrize("mode", MODES)
def test_a_refund_just_after_a_promotion_lowers_nothing_by_default(mode: dict[str, Any]):
    outcome = at_end(program(**mode), [order(t("03-01"), "300", (t("03-02"), "300"))], "03-11")
    assert (outcome.tier, len(outcome.entries)) == ("gold", 1)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("back, landed", [("0.01", "silver"), ("200", "silver"), ("200.01", "member")])
def test_a_refund_just_after_a_promotion_revokes(mode: dict[str, Any], back: str, landed: str):
    # What is left of the window of 1 March is judged; the lower tier keeps the V that was, 12 March.
    outcome = at_end(revoking(**mode), [order(t("03-01"), "300", (t("03-02"), back))], "03-03")
    end = "03-12" if landed == "silver" and mode["to"] != "never" else None
    assert told(outcome)[1:] == [line("demoted", landed, "03-02", "refund", end)]


def test_at_once_with_revoke():
    # 300 on each of two days; the first is given back. `keep` of now still holds, what gold stands on (1 March) does
    # not: it falls to member, and 300 of the 2nd promote again at the same instant: as before, so nothing is told.
    orders = [order(t("03-01"), "300", (t("03-03"), "300")), order(t("03-02"), "300")]
    outcome = at_end(revoking(when="at_once", on_publish="full"), orders, "03-05")
    assert told(outcome) == [line("promoted", "gold", "03-01", "spend")]
    # With a `keep` of 200 and 200 on the 2nd, `enter` of gold does not hold: only silver does.
    gold = tier("gold", spend("300"), keep=spend("200"), points_multiplier="1.5")
    orders = [order(t("03-01"), "300", (t("03-03"), "300")), order(t("03-02"), "200")]
    outcome = at_end(revoking(MEMBER, SILVER, gold, when="at_once", on_publish="full"), orders, "03-05")
    assert told(outcome)[1:] == [line("demoted", "silver", "03-03", "refund")]


def test_keep_also_holds_the_basis():
    # 210 are left of the window of 1 March: below `enter` (300), above `keep` (200).
    gold = tier("gold", spend("300"), keep=spend("200"))
    outcome = at_end(revoking(MEMBER, SILVER, gold), [order(t("03-01"), "300", (t("03-02"), "90"))], "03-03")
    assert outcome.tier == "gold"


def test_what_was_bought_later_promotes_by_itself():
    # 4 March: gold is revoked and reached again by the order of the 3rd: told once, held as reached on the 4th.
    orders = [order(t("03-01"), "300", (t("03-04"), "300")), order(t("03-03"), "300")]
    outcome = at_end(revoking(), orders, "03-05")
    assert told(outcome)[1:] == [line("retained", "gold", "03-04", "spend", "03-15")]


def test_what_was_bought_later_cannot_save():
    # 299 of 3 March do not reach gold: down to member, up to silver, one entry from gold to silver.
    orders = [order(t("03-01"), "300", (t("03-04"), "300")), order(t("03-03"), "299")]
    outcome = at_end(revoking(), orders, "03-05")
    assert told(outcome)[1:] == [line("demoted", "silver", "03-04", "refund", "03-15")]


def test_a_later_order_of_the_same_day_is_no_part_of_the_basis():
    # Gold at 10:00; 100 more at 12:00 and given back at 13:00 leave what gold stands on as it was.
    orders = [order(t("03-01 10:00"), "300"), order(t("03-01 12:00"), "100", (t("03-01 13:00"), "100"))]
    assert len(at_end(revoking(), orders, "03-05").entries) == 1


def test_a_kept_tier_stands_on_the_period_that_kept_it():
    # Kept on 12 March by the 300 of the 5th: V 22 March. The refund of 1 March is of no account any more.
    first = at_end(revoking(), [order(t("03-01"), "300", (t("03-13"), "300")), order(t("03-05"), "300")], "03-14")
    assert (first.tier, first.valid_until) == ("gold", t("03-22"))
    # The refund of the 5th is: nothing holds in 2-11 March, so member.
    second = at_end(revoking(), [order(t("03-01"), "300"), order(t("03-05"), "300", (t("03-13"), "300"))], "03-14")
    assert told(second)[2:] == [line("demoted", "member", "03-13", "refund")]


def test_a_tier_kept_in_grace_stands_on_its_own_window():
    # Kept on 13 March (4-13 March: 200 of the 10th, 100 of the 13th); 100 go back on the 14th: silver, the same V.
    orders = [order(t("03-01"), "300"), order(t("03-10"), "200"), order(t("03-13"), "100", (t("03-14"), "100"))]
    outcome = at_end(revoking(grace_days=3), orders, "03-14")
    assert told(outcome)[1:] == [
        line("retained", "gold", "03-13", "spend", "03-24"),
        line("demoted", "silver", "03-14", "refund", "03-24"),
    ]


def test_a_step_down_of_which_nothing_held_stands_on_what_it_once_stood_on():
    # Silver by 100 on 1 March, gold by 200 more on the 2nd (V 13 March), silver by one step, of which nothing held.
    base, top = order(t("03-01"), "100"), order(t("03-02"), "200")
    stepped = [("demoted", "silver"), ("demoted", "member")]
    # The 200 are no part of what silver stood on.
    outcome = at_end(revoking(), [base, order(t("03-02"), "200", (t("03-14"), "200"))], "03-15")
    assert [entry[:2] for entry in told(outcome)[2:]] == stepped[:1]
    # The 100 are.
    outcome = at_end(revoking(), [order(t("03-01"), "100", (t("03-14"), "100")), top], "03-15")
    assert told(outcome)[2:] == [
        line("demoted", "silver", "03-13", "period_end", "03-23"),
        line("demoted", "member", "03-14", "refund"),
    ]


def test_a_step_down_into_a_tier_never_reached_stands_on_nothing():
    # Gold at once, silver by one step on 12 March, nothing held: the refund of the 13th revokes nothing.
    outcome = at_end(revoking(), [order(t("03-01"), "300", (t("03-13"), "300"))], "03-14")
    assert told(outcome)[1:] == [line("demoted", "silver", "03-12", "period_end", "03-22")]


def test_a_step_down_that_held_stands_on_the_period_that_ended():
    # Silver held in 2-11 March by the 100 of the 5th: when they go back, silver goes.
    orders = [order(t("03-01"), "300"), order(t("03-05"), "100", (t("03-13"), "100"))]
    outcome = at_end(revoking(), orders, "03-14")
    assert told(outcome)[2:] == [line("demoted", "member", "03-13", "refund")]


def test_in_grace_the_lower_tier_is_judged_by_the_period_that_ended():
    # 13 March, in grace of gold: 200 of 1 March go back, silver stands on the 100 that are left, with V 12 March.
    # The period 2-11 March holds it by the 100 of the 5th: one period on, to 22 March.
    orders = [order(t("03-01"), "300", (t("03-13"), "200")), order(t("03-05"), "100")]
    outcome = at_end(revoking(grace_days=5), orders, "03-13")
    assert told(outcome)[1:] == [line("demoted", "silver", "03-13", "refund", "03-22")]
    assert outcome.grace_until is None


def test_in_grace_a_lower_tier_that_is_not_kept_goes_on_in_grace():
    outcome = at_end(revoking(grace_days=5), [order(t("03-01"), "300", (t("03-13"), "200"))], "03-13")
    assert told(outcome)[1:] == [line("demoted", "silver", "03-13", "refund", "03-12")]
    assert outcome.grace_until == t("03-17")
    outcome = at_end(revoking(grace_days=5), [order(t("03-01"), "300", (t("03-13"), "200"))], "03-17")
    assert told(outcome)[2:] == [line("demoted", "member", "03-17", "grace_end")]


def test_under_never_each_tier_reached_is_a_floor_on_its_own_basis():
    # Silver by 100 on 1 March, gold by 300 on the 20th. All 300 go back: silver's own 100 still stand.
    base, top = order(t("03-01"), "100"), order(t("03-20"), "300", (t("03-21"), "300"))
    outcome = at_end(revoking(to="never"), [base, top], "03-22")
    assert told(outcome)[2:] == [line("demoted", "silver", "03-21", "refund")]
    # The 100 go back as well, before or after: member.
    gone = order(t("03-01"), "100", (t("03-20 12:00"), "100"))
    outcome = at_end(revoking(to="never"), [gone, top], "03-22")
    assert told(outcome)[2:] == [line("demoted", "member", "03-21", "refund")]
    gone = order(t("03-01"), "100", (t("03-22"), "100"))
    outcome = at_end(revoking(to="never"), [gone, top], "03-22")
    assert told(outcome)[3:] == [line("demoted", "member", "03-22", "refund")]


def test_a_permanent_tier_is_not_revoked():
    bought = [order(t("03-01"), "300", (t("03-02"), "300"))]
    permanent = revoking(MEMBER, SILVER, {**GOLD, "permanent": True})
    assert at_end(permanent, bought, "03-05").tier == "gold"


@pytest.mark.parametrize("metric, reason", [("reviews", "withdrawal"), ("referrals", "referrals")])
def test_the_reason_says_what_was_taken_back(metric: str, reason: str):
    rules = revoking(MEMBER, tier("silver", [[{"metric": metric, "at_least": 1}]]))
    outcome = at_end(rules, [single(metric, t("03-01"), t("03-02"))], "03-03")
    assert told(outcome)[1:] == [line("demoted", "member", "03-02", reason)]


def test_reversed_points_revoke_and_never_go_below_zero():
    rules = revoking(MEMBER, tier("silver", [[{"metric": "points", "at_least": 10}]]))
    outcome = at_end(rules, [points(t("03-01"), 12, (t("03-02"), 2), (t("03-03"), 100))], "03-04")
    assert told(outcome)[1:] == [line("demoted", "member", "03-03", "points")]
    assert outcome.metrics["points"] == 0


def test_with_another_version_since_the_conditions_of_then_and_the_names_by_moves():
    # Gold by 300 under the first version; the second calls it top, and asks for 1000. 200 are left: silver of then.
    second = revoking(MEMBER, SILVER, tier("top", spend("1000")), moves={"gold": "top"})
    bought = [order(t("03-01"), "300", (t("03-05"), "100"))]
    outcome = at_end(program(), bought, "03-06", later=[("03-03", second)])
    assert told(outcome)[1:] == [
        line("retained", "top", "03-03", "program", "03-12"),
        line("demoted", "silver", "03-05", "refund", "03-12"),
    ]
    # Whether it revokes says the version in force at the refund.
    outcome = at_end(revoking(), bought, "03-06", later=[("03-03", second | {"downgrade": {"to": "one_step"}})])
    assert outcome.tier == "top"


def test_a_step_down_into_a_tier_that_was_lost_stands_on_what_it_stood_on_then():
    # Silver by 100 on 1 March, lost on the 12th. Gold at once on the 20th, silver by one step on the 31st.
    bought = [order(t("03-01"), "100", (t("04-01"), "0.01")), order(t("03-20"), "300")]
    outcome = at_end(revoking(), bought, "04-02")
    assert told(outcome)[2:] == [
        line("promoted", "gold", "03-20", "spend", "03-31"),
        line("demoted", "silver", "03-31", "period_end", "04-10"),
        line("demoted", "member", "04-01", "refund"),
    ]


def test_a_revoked_tier_leads_to_one_that_stands_by_the_conditions_of_then():
    # Silver needs 500 from 3 March on. Gold by 300 of 1 March: 100 go back, silver of then (100) holds; 50 more: still.
    second = revoking(MEMBER, tier("silver", spend("500")), tier("gold", spend("900")))
    bought = [order(t("03-01"), "300", (t("03-04"), "100"), (t("03-05"), "50"), (t("03-06"), "50.01"))]
    outcome = at_end(revoking(), bought, "03-07", later=[("03-03", second)])
    assert [entry[:3] for entry in told(outcome)[2:]] == [
        ("demoted", "silver", t("03-04")),
        ("demoted", "member", t("03-06")),
    ]


def test_in_grace_the_end_of_grace_stays_the_instant_that_it_was():
    # G 17 March by the first version; the second has one day, and takes effect in that grace.
    second = revoking(grace_days=1)
    bought = [order(t("03-01"), "300", (t("03-13"), "200"))]
    outcome = at_end(revoking(grace_days=5), bought, "03-13", later=[("03-12 12:00", second)])
    assert (outcome.tier, outcome.grace_until) == ("silver", t("03-17"))
