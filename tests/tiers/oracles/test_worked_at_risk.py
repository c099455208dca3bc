"""Worked examples for the model: who is told that a tier is at risk, when and how often (T29)."""

from tests.tiers.oracles.at_risk import Risk, announced, at_risk
from tests.tiers.oracles.facts import Assignment, order
from tests.tiers.oracles.written import GOLD, MEMBER, SILVER, program, t

WARNING = program(at_risk_days=[5, 2])
BOUGHT = order(t("03-01 12:00"), "300")


def test_the_moment_is_midnight_of_the_nth_day_before():
    # V 12 March: moments are 7 and 10 March 00:00. One step down, at V since there is no grace.
    versions = [(None, WARNING)]
    assert at_risk(versions, BOUGHT, [], t("03-06 23:59")) is None
    assert at_risk(versions, BOUGHT, [], t("03-07")) == Risk(t("03-12"), 5, t("03-07"), "gold", "silver", t("03-12"))
    assert at_risk(versions, BOUGHT, [], t("03-11 23:59")) == Risk(
        *(t("03-12"), 2, t("03-10"), "gold", "silver", t("03-12"))
    )
    # From 12 March on the tier is silver, whose V is the 22nd.
    assert at_risk(versions, BOUGHT, [], t("03-12")) is None


def test_grace_is_part_of_when():
    risk = at_risk([(None, program(at_risk_days=[5], grace_days=3))], BOUGHT, [], t("03-08"))
    assert risk is not None
    assert risk.effective_at == t("03-15")


def test_judged_by_the_period_as_it_stood_at_the_moment():
    # 300 on 7 March at 00:00 were not known before the moment; on the 6th they keep gold.
    versions = [(None, program(at_risk_days=[5]))]
    assert at_risk(versions, [*BOUGHT, *order(t("03-06"), "300")], [], t("03-08")) is None
    assert at_risk(versions, [*BOUGHT, *order(t("03-07"), "300")], [], t("03-08")) is not None


def test_each_once_and_of_several_the_nearest():
    versions = [(None, WARNING)]
    every_day = [t(f"03-{day:02}") for day in range(1, 12)]
    assert [risk.days for risk in announced(versions, BOUGHT, [], every_day)] == [5, 2]
    # After an outage both have gone by: only the nearest.
    assert [risk.days for risk in announced(versions, BOUGHT, [], [t("03-11"), t("03-11 12:00")])] == [2]


def test_again_for_another_valid_until():
    # Kept on 12 March, V 22 March: moments 17 and 20 March.
    kept = [*BOUGHT, *order(t("03-08"), "300")]
    risks = announced([(None, WARNING)], kept, [], [t("03-07"), t("03-10"), t("03-17"), t("03-20")])
    assert [(risk.valid_until, risk.days) for risk in risks] == [(t("03-12"), 5), (t("03-22"), 5), (t("03-22"), 2)]


def test_a_moment_before_the_tier_was_given_does_not_count():
    # Given on 9 March until the 12th: the moment of 5 days lies before, that of 2 days after it.
    hand = [Assignment(t("03-09"), "gold", t("03-12"))]
    risks = announced([(None, WARNING)], [], hand, [t("03-09 12:00"), t("03-11")])
    assert [(risk.days, risk.to) for risk in risks] == [(2, "silver")]


def test_a_floor_is_no_risk():
    rules = program(MEMBER, {**SILVER, "permanent": True}, GOLD, at_risk_days=[5])
    assert at_risk([(None, rules)], order(t("03-01"), "100"), [], t("03-11")) is None


def test_a_moment_before_the_tier_was_fallen_into_does_not_count():
    # Gold is revoked on 8 March, silver keeps V 12 March. The moment of 5 days, 7 March, lies before silver was had.
    versions = [(None, program(at_risk_days=[5, 2], on_refund="revoke"))]
    bought = order(t("03-01"), "300", (t("03-08"), "200"))
    risks = announced(versions, bought, [], [t("03-09"), t("03-10")])
    assert [(risk.days, risk.tier, risk.to) for risk in risks] == [(2, "silver", "member")]


def test_what_happens_at_the_moment_comes_after_it():
    # Gold is given at 7 March 00:00, its V (18 March) is another one: the moments of 12 March are over.
    hand = [Assignment(t("03-07"), "gold")]
    assert at_risk([(None, WARNING)], BOUGHT, hand, t("03-08")) is None
