"""Accruals: each is judged once, by the rules of its time, and taken back when its cause is.

Planted and caught here: a void that leaves what the rules gave; a promotion judged at the tier before it; a late
timeline that settles no review; a repeated event that is awarded again; a promotion by its instant, or by its event.
"""

from datetime import datetime
from typing import Any

import pytest

from services.points.rules.books.state import State
from services.points.rules.program.ruleset import RuleBook
from shared.contracts.envelope import Event
from shared.contracts.loyalty import TimelineEntry
from shared.contracts.shop import ActivityPerformed, CustomerRegistered, SurveyAnswered
from tests.points.shop import again, event, hour, referral, review, tier, withdrawal
from tests.points.states import SINCE_EVER, apply, moved, new_customers, rulebook, ruleset


def rule(on: str, points: int, *when: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"id": on, "on": on, "when": list(when), "award": {"kind": "fixed", "points": points}} | fields


RULES = rulebook(
    (
        SINCE_EVER,
        ruleset(
            rule("registration", 100),
            rule(
                "activity",
                20,
                {"kind": "activity_is", "activity": "app_install"},
                limits=[{"count": 1, "per": "ever", "scope": "customer"}],
            ),
            rule("survey", 10, {"kind": "survey_is", "survey": "nps"}, {"kind": "score_at_least", "score": 9}),
            rule("referral", 30),
            rule("tier_promotion", 200, {"kind": "tier_in", "values": ["x2"]}),
            rule("review", 50, {"kind": "tier_in", "values": ["x2"]}),
        ),
    )
)


@pytest.fixture
def ann() -> State:
    return new_customers("ann", "bob")


def booked(state: State, *events: Event, rules: RuleBook = RULES) -> list[tuple[str, int]]:
    return moved(apply(state, *events, rules=rules))


def registered(source: str = "/shop/web") -> Event:
    return event("shop.customer.registered.v1", hour(0), CustomerRegistered(customer_id="ann"), source)


def activity(activity_id: str, name: str = "app_install") -> Event:
    data = ActivityPerformed(customer_id="ann", activity_id=activity_id, activity=name)
    return event("shop.activity.performed.v1", hour(0), data)


def answer(answer_id: str, survey: Any, score: int) -> Event:
    data = SurveyAnswered(customer_id="ann", answer_id=answer_id, survey=survey, score=score)
    return event("shop.survey.answered.v1", hour(0), data)


def test_a_registration_is_awarded_once_whichever_shop_reports_it(ann: State):
    changes = apply(ann, registered(), registered("/shop/app"), rules=RULES)
    assert (moved(changes), changes.repeats) == ([("earned", 100)], 1)
    assert changes.transactions[0].context.reason == {"kind": "registration"}


def test_an_activity_is_judged_once_by_its_name_and_its_limit(ann: State):
    first = activity("1")
    assert booked(ann, first, again(first), activity("2", "quiz"), activity("3")) == [
        ("earned", 20),
        ("earned", 0),
        ("earned", 0),
    ]


def test_a_survey_is_judged_by_its_kind_and_score(ann: State):
    answers = (answer("1", "nps", 9), answer("2", "nps", 8), answer("3", "csat", 5))
    changes = apply(ann, *answers, rules=RULES)
    assert moved(changes) == [("earned", 10), ("earned", 0), ("earned", 0)]
    assert changes.transactions[0].context.reason == {"kind": "survey", "answer_id": "1"}


def test_a_rule_on_referrals_pays_the_advocate_on_top_and_a_void_takes_everything_back(ann: State):
    changes = apply(ann, referral("approved", "f"), rules=RULES)
    assert [(transaction.account.customer_id, transaction.points) for transaction in changes.transactions] == [
        ("ann", 500),
        ("bob", 200),
        ("ann", 30),
    ]
    assert booked(ann, referral("voided", "f")) == [("reversed", -500), ("reversed", -200), ("reversed", -30)]
    assert booked(ann, referral("voided", "g"), referral("approved", "g")) == []
    assert [ann.accounts[name].available for name in ("ann", "bob")] == [0, 0]


def test_a_promotion_is_judged_at_the_new_tier_once_for_each_rise(ann: State):
    first = tier([(hour(0), "1.5")])
    second = tier([(hour(1), "2")])
    assert booked(ann, first, second, again(second)) == [("earned", 0), ("earned", 200)]
    assert booked(ann, tier([(hour(1), "2")], verb="corrected")) == []
    assert booked(ann, tier([(hour(0.5), "1"), (hour(1), "2")], verb="corrected")) == []
    # A rise that moves is the same rise; a tier that is retained is none.
    assert booked(ann, tier([(hour(4), "2")], verb="retained")) == []
    assert booked(ann, tier([(hour(0.5), "1"), (hour(3), "2")], verb="corrected")) == []
    assert booked(ann, tier([(hour(5), "1.5")], verb="demoted")) == []
    assert booked(ann, tier([(hour(6), "2")])) == [("earned", 200)]
    # The timeline that never fell has one rise: the second is taken back.
    assert booked(ann, tier([(hour(5), "2")], verb="corrected")) == [("reversed", -200)]
    assert booked(ann, tier([(hour(0), "1")], verb="corrected")) == [("reversed", -200)]
    assert booked(ann, tier([(hour(9), "2")])) == [("earned", 200)]
    assert ann.accounts["ann"].available == 200


def test_points_of_promotions_qualify_for_no_tier(ann: State):
    changes = apply(ann, tier([(hour(1), "2")]), tier([(hour(1), "1")], verb="corrected"), rules=RULES)
    shown = [
        (announced.transaction.kind, announced.qualifying, announced.transaction.context.reason)
        for announced in changes.announced
    ]
    assert shown == [("earned", 0, {"kind": "tier"}), ("reversed", 0, {"kind": "tier"})]


def test_skipping_a_tier_is_one_rise_into_the_tier_reached(ann: State):
    rules = rulebook((SINCE_EVER, ruleset(rule("tier_promotion", 500))))
    gold = ladder((hour(2), "gold", "1.5"))
    assert booked(ann, gold, rules=rules) == [("earned", 500)]
    # Silver, which came first, arrives late: two rises.
    assert booked(ann, ladder((hour(1), "silver", "1.25"), (hour(2), "gold", "1.5")), rules=rules) == [("earned", 500)]
    assert booked(ann, ladder((hour(1), "member", "1"), (hour(3), "gold", "1.5")), rules=rules) == [("reversed", -500)]


def test_rises_follow_the_tiers_of_the_program_whatever_their_multipliers(ann: State):
    rules = rulebook((SINCE_EVER, ruleset(rule("tier_promotion", 500))))
    same = [(hour(1), "silver", "1"), (hour(2), "gold", "1"), (hour(3), "silver", "9"), (hour(4), "silver", "10")]
    assert booked(ann, ladder(*same), rules=rules) == [("earned", 500), ("earned", 500)]
    assert [entry.rise for entry in ann.timelines["ann"]] == [1, 1, None, None]
    assert booked(ann, ladder((hour(5), "gold", "1")), rules=rules) == [("earned", 500)]
    assert ann.timelines["ann"][-1].rise == 2
    # For a tier that the rules lack, the multiplier decides.
    assert booked(ann, ladder((hour(6), "platinum", "1.5")), rules=rules) == [("earned", 500)]
    assert booked(ann, ladder((hour(7), "gold", "1.2")), rules=rules) == []


def test_a_promotion_keeps_the_rules_of_its_first_recorded_instant(ann: State):
    low, high = (ruleset(rule("tier_promotion", points), version=version) for version, points in ((1, 100), (2, 300)))
    rules = rulebook((SINCE_EVER, low), (hour(5), high))
    assert booked(ann, ladder((hour(1), "silver", "1.25")), rules=rules) == [("earned", 100)]
    assert booked(ann, ladder((hour(1), "member", "1"), (hour(6), "silver", "1.25")), rules=rules) == []
    assert booked(ann, ladder((hour(1), "member", "1")), rules=rules) == [("reversed", -100)]
    assert booked(ann, ladder((hour(7), "silver", "1.25")), rules=rules) == [("earned", 100)]
    assert booked(ann, ladder((hour(8), "gold", "1.5")), rules=rules) == [("earned", 300)]
    # Where no rule was about promotions at that instant, none is given for it later.
    bob = rulebook((SINCE_EVER, ruleset(version=1)), (hour(5), high))
    assert booked(ann, ladder((hour(1), "silver", "1.25"), customer_id="bob"), rules=bob) == []
    assert (
        booked(ann, ladder((hour(1), "member", "1"), (hour(6), "silver", "1.25"), customer_id="bob"), rules=bob) == []
    )


def test_a_promotion_taken_back_frees_its_use_of_limits_and_uses_them_again(ann: State):
    once = rule("tier_promotion", 500, limits=[{"count": 1, "per": "ever", "scope": "customer"}])
    rules = rulebook((SINCE_EVER, ruleset(once)))
    first = ladder((hour(1), "silver", "1.25"))
    assert booked(ann, first, rules=rules) == [("earned", 500)]
    assert booked(ann, ladder((hour(2), "gold", "1.5")), rules=rules) == [("earned", 0)]
    # Gold was judged when nothing was left, and stays so; the next rise gets what silver freed.
    assert booked(ann, ladder((hour(1), "member", "1"), (hour(3), "gold", "1.5")), rules=rules) == [("reversed", -500)]
    assert booked(ann, ladder((hour(1), "member", "1")), rules=rules) == []
    assert booked(ann, ladder((hour(4), "silver", "1.25")), rules=rules) == [("earned", 500)]
    assert booked(ann, ladder((hour(5), "member", "1"), (hour(6), "silver", "1.25")), rules=rules) == [("earned", 0)]


def ladder(*entries: tuple[datetime, str, str], customer_id: str = "ann") -> Event:
    """An event with a timeline from its first entry on, with the names of tiers."""
    plain = tier([(at, multiplier) for at, _, multiplier in entries], customer_id=customer_id)
    timeline = tuple(
        TimelineEntry(effective_at=at, tier=name, points_multiplier=multiplier) for at, name, multiplier in entries
    )
    return event(plain.type, plain.time, plain.data.model_copy(update={"timeline": timeline}), "/wafa/tiers")


def test_a_review_follows_the_tier_before_it_even_if_that_arrives_late(ann: State):
    assert booked(ann, review("1", "s", hour(2)), review("2", "t", hour(4))) == [("earned", 0), ("earned", 0)]
    late = booked(ann, tier([(hour(3), "2")], verb="corrected"))
    assert late == [("earned", 50), ("earned", 200)]
    assert booked(ann, tier([(hour(3), "1")], verb="corrected")) == [("reversed", -50), ("reversed", -200)]
    assert booked(ann, tier([(hour(0), "2")], verb="corrected"), withdrawal("1")) == [
        ("earned", 50),
        ("earned", 50),
        ("earned", 200),
        ("reversed", -50),
    ]


def test_an_event_without_rules_makes_no_transaction_and_its_accrual_is_stored(ann: State):
    nothing = rulebook((SINCE_EVER, ruleset(rule("birthday", 5))))
    assert (
        booked(ann, registered(), activity("1"), review("1", "s"), referral("approved", "f", (0, 0)), rules=nothing)
        == []
    )
    assert apply(ann, again(activity("1")), rules=nothing).repeats == 1
