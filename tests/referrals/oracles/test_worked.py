"""Worked examples of the model, reasoned by hand from the contract."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from shared.contracts.envelope import Event
from tests.referrals.oracles.model import VERSION_1, Model
from tests.referrals.oracles.records import By, Referral
from tests.referrals.shop import at, bought, event, refunded, signed_up

PEOPLE = ("ada", "ben", "cy", "dee", "eve", "fay", "gil", "hal")
DAY = 24
ANYBODY = By("key:marketing", "seen")


def code(owner: str) -> str:
    return {"ada": "CDFGHJKM", "ben": "NPQRTVWX"}.get(owner, f"{owner.upper()}-CODE").replace("-", "")


def model(**document: Any) -> Model:
    """A model in which version 2, with changes to version 1, is in force since ever; everybody has a code."""
    made = Model()
    made.facts.codes = {code(owner): owner for owner in PEOPLE}
    made.publish({**VERSION_1, **document}, at(-100_000))
    return made


def joins(friend: str, advocate: str, hours: float = 0) -> Event:
    return signed_up(friend, code(advocate), hours)


def verbs(made: Model, friend: str | None = None) -> list[str]:
    return [told.verb for told in made.facts.published if friend in {None, told.friend_id}]


def last(made: Model, friend: str) -> Referral:
    return made.facts.of_friend(friend)[-1]


def seen(customer_id: str, hours: float, **fields: str) -> Event:
    return event("shop.customer.updated.v1", hours, {"customer_id": customer_id, **fields})


def decided(made: Model, decision: str, now: datetime) -> bool:
    return made.decide_on([last(made, "fay")], decision, ANYBODY, now)[0]


HELD: dict[str, Any] = {"hold_days": 14}


def test_version_1_approves_at_once():
    made = Model()
    made.facts.codes = {code("ada"): "ada"}
    made.handle([joins("fay", "ada"), bought("fay", "o", 5, "20")], at(6))
    assert verbs(made) == ["signed_up", "qualified", "approved"]
    assert made.facts.published[-1].points == (500, 200)


def test_a_hold_ends_to_the_instant():
    made = model(**HELD)
    made.handle([joins("fay", "ada"), bought("fay", "o", 5)], at(6))
    over = at(5 + 14 * DAY)
    made.steps.apply_due(over - timedelta(microseconds=1))
    assert verbs(made) == ["signed_up", "qualified"]
    made.steps.apply_due(over)
    assert (made.facts.published[-1].verb, made.facts.published[-1].time) == ("approved", over)


@pytest.mark.parametrize("hours, expected", [(30 * DAY, "approved"), (30 * DAY + 0.001, "expired")])
def test_an_expired_referral_is_revived_by_a_late_order_inside_the_window(hours: float, expected: str):
    made = model()
    made.handle([joins("fay", "ada")], at(0))
    made.handle([bought("fay", "o", hours)], at(40 * DAY))
    assert last(made, "fay").state == expected
    assert verbs(made)[:2] == ["signed_up", "expired"]


def test_a_second_sign_up_after_the_window_takes_the_late_order():
    made = model()
    made.handle([joins("fay", "ada")], at(0))
    made.handle([joins("fay", "ben", 20 * DAY)], at(40 * DAY))
    made.handle([bought("fay", "o", 25 * DAY)], at(41 * DAY))
    assert [(r.advocate_id, r.state) for r in made.facts.of_friend("fay")] == [("ada", "expired"), ("ben", "approved")]


def test_a_second_sign_up_meanwhile_is_rejected_whatever_the_signal_says():
    made = model(signals=[{"id": "already_referred", "action": "off"}])
    made.handle([joins("fay", "ada"), joins("fay", "ben"), joins("fay", "ada", 1)], at(2))
    assert [(r.state, list(r.signals)) for r in made.facts.of_friend("fay")] == [
        ("signed_up", []),
        ("rejected", ["already_referred"]),
    ]


@pytest.mark.parametrize("size", [2, 3, 4, 5, 6])
def test_the_sign_up_that_closes_a_ring_of_2_to_5_is_stopped(size: int):
    made = model(signals=[{"id": "circle", "action": "block"}])
    ring = PEOPLE[:size]
    made.handle([joins(ring[(i + 1) % size], ring[i], i) for i in range(size)], at(9))
    assert [r.state for r in made.facts.referrals] == ["signed_up"] * (size - 1) + [
        "rejected" if size <= 5 else "signed_up"
    ]


def test_a_rejected_edge_closes_no_ring():
    made = model(signals=[{"id": "circle", "action": "block"}, {"id": "blocklist", "action": "block"}])
    made.facts.programs[-1].document["blocklist"] = {"countries": ["XX"]}
    made.handle([seen("ben", 0, country="XX"), joins("ben", "ada"), joins("ada", "ben")], at(1))
    assert [r.state for r in made.facts.referrals] == ["rejected", "signed_up"]


@pytest.mark.parametrize("late", [False, True])
def test_a_refund_finds_the_state(*, late: bool):
    made = model(**HELD)
    made.handle([joins("fay", "ada"), bought("fay", "o", 0)], at(1))
    # The refund's own time does not matter, the state that it finds does.
    made.handle([refunded("fay", "o", "r", 2, "5.01")], at(15 * DAY if late else 3))
    assert (last(made, "fay").state, last(made, "fay").reason) == ("voided" if late else "rejected", "refunded")
    made.handle([bought("fay", "p", 3)], at(16 * DAY))
    assert last(made, "fay").state == ("voided" if late else "rejected")


def test_a_refund_that_waited_rejects_with_its_order():
    made = model()
    made.handle([refunded("fay", "o", "r", 2, "5.01"), joins("fay", "ada"), bought("fay", "o", 0)], at(3))
    assert verbs(made) == ["signed_up", "qualified", "rejected"]


def test_the_second_order_worth_the_amount_qualifies_as_known():
    made = model(qualifies={"nth_order": 2, "amount_at_least": "20.00", "within_days": 30})
    made.handle([joins("fay", "ada"), bought("fay", "o9", 9), bought("fay", "small", 1, "19.99")], at(10))
    assert last(made, "fay").state == "signed_up"
    made.handle([bought("fay", "o3", 3)], at(11))
    assert made.facts.published[-1].order_id == "o9"
    made.handle([refunded("fay", "o3", "r", 12)], at(12))
    assert last(made, "fay").state == "approved"


def flagged_by_device(**document: Any) -> Model:
    made = model(signals=[{"id": "same_device"}], **{**HELD, **document})
    both = [seen("ada", 0, device_id="d"), seen("fay", 0, device_id="d")]
    made.handle([*both, joins("fay", "ada"), bought("fay", "o", 0)], at(1))
    assert verbs(made) == ["signed_up", "qualified", "flagged"]
    return made


@pytest.mark.parametrize(
    "decision, hours, expected",
    [
        ("approve", 2, ["qualified", "approved"]),
        ("approve", 14 * DAY + 0.5, ["approved"]),
        ("reject", 2, ["rejected"]),
    ],
)
def test_a_person_decides(decision: str, hours: float, expected: list[str]):
    made = flagged_by_device()
    assert decided(made, decision, at(hours))
    assert not decided(made, decision, at(hours))
    made.steps.apply_due(at(99 * DAY))
    assert verbs(made)[3:] == expected
    assert last(made, "fay").history[3].note == "seen"


@pytest.mark.parametrize("then, expected", [("approve", "approved"), ("reject", "rejected")])
def test_nobody_decides(then: str, expected: str):
    made = flagged_by_device(hold_days=0, undecided={"after_days": 2, "then": then})
    made.steps.apply_due(at(2 * DAY + 0.5))
    assert last(made, "fay").state == "flagged"
    made.steps.apply_due(at(2 * DAY + 1))  # from when the flag was recorded
    assert (last(made, "fay").state, last(made, "fay").reason) == (expected, "undecided")


def test_a_decision_comes_after_what_is_due():
    made = flagged_by_device(undecided={"after_days": 20, "then": "reject"})
    assert not decided(made, "reject", at(1 + 20 * DAY))
    assert decided(made, "approve", at(1 + 20 * DAY)), "a person may overturn it"


def five(made: Model, hours: Sequence[float] = range(5)) -> None:
    for friend, hour in zip(PEOPLE[1:6], hours, strict=True):
        made.handle([joins(friend, "ada", hour), bought(friend, "o", hour)], at(hour))


def paid(made: Model) -> list[tuple[int, int] | None]:
    return [told.points for told in made.facts.published if told.verb == "approved"]


def test_a_milestone_goes_to_who_reaches_the_count_and_is_not_paid_twice():
    made = model(milestones=[{"count": 3, "points": 1_000}])
    five(made)
    assert paid(made) == [(500, 200), (500, 200), (1_500, 200), (500, 200), (500, 200)]
    for friend in ("ben", "cy", "eve"):  # two others: the carrier stands, nothing is paid twice
        made.handle([refunded(friend, "o", "r", 9)], at(10))
    made.handle([joins("gil", "ada", 20), bought("gil", "o", 20)], at(20))
    assert paid(made)[-1] == (500, 200)
    made.handle([refunded("dee", "o", "r", 21)], at(21))  # the carrier
    assert made.facts.published[-1].points == (1_500, 200)
    made.handle([joins("hal", "ada", 30), bought("hal", "o", 30)], at(30))
    assert paid(made)[-1] == (1_500, 200)


@pytest.mark.parametrize(
    "cap, expected",
    [
        ({"count": 2, "per": "month"}, [(500, 200), (500, 200), (0, 200), (0, 200), (500, 200)]),
        ({"points": 700, "per": "ever"}, [(500, 200), (200, 200), (0, 200), (0, 200), (0, 200)]),
        ({"count": 2, "per": "ever", "scope": "program"}, [(500, 200), (500, 200), (0, 0), (0, 0), (0, 0)]),
        ({"points": 1_500, "per": "ever", "scope": "program"}, [(500, 200), (500, 200), (0, 100), (0, 0), (0, 0)]),
    ],
)
def test_caps_cut_and_voids_give_nothing_back(cap: dict[str, Any], expected: list[tuple[int, int]]):
    made = model(caps=[cap])
    five(made, [0, 1, 2, 3, 31 * DAY])  # the last in April
    made.handle([refunded("ben", "o", "r", 4)], at(5))
    assert paid(made) == expected
    assert [r.reason for r in made.facts.referrals if r.state == "approved"] == [
        "cap" if points != (500, 200) else None for points in expected[1:]
    ]


def test_an_erasure_takes_evidence_and_the_code_and_nothing_comes_back():
    made = model(signals=[{"id": "same_device", "action": "block"}])
    made.handle([seen("ada", 0, device_id="d")], at(0))
    made.handle([event("shop.customer.erased.v1", 2, {"customer_id": "fay"})], at(2))
    made.handle([seen("fay", 1, device_id="d"), joins("fay", "ada", 3), joins("gil", "fay", 3)], at(3))
    assert verbs(made) == ["signed_up"]
    assert [reason for _, reason in made.facts.refused] == ["unknown_code"]
    made.handle([seen("fay", 4, device_id="d"), bought("fay", "o", 5)], at(5))
    assert verbs(made) == ["signed_up", "qualified", "rejected"], "what was told since counts"


def instants(made: Model) -> list[datetime]:
    return [told.time for told in made.facts.published]


def test_each_step_has_the_instant_of_its_cause():
    made = flagged_by_device()
    decided(made, "approve", at(50))
    made.steps.apply_due(at(99 * DAY))
    assert instants(made) == [at(0), at(0), at(0), at(50), at(14 * DAY)]
