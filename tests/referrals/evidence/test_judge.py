"""Each signal just over and just under its threshold, and what a judgement returns."""

from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from typing import Any

import pytest

from services.referrals.rules.program.signals import SIGNALS
from services.referrals.rules.signals import Circumstances, Facts, judge
from tests.referrals.evidence.documents import every_signal, program

MICROSECOND = timedelta(microseconds=1)
SAME = ["same_email", "same_phone", "same_payment", "same_device", "same_ip_and_agent", "same_ip", "same_name"]

# A signal with its setting, the facts or circumstances at which it just holds, and those at which it just does not.
CASES: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ({"id": "similar_email", "threshold": "0.9"}, {"similarity": Fraction(9, 10)}, {"similarity": Fraction(8, 9)}),
    ({"id": "similar_email", "threshold": 1}, {"similarity": Fraction(1)}, {"similarity": Fraction(99, 100)}),
    (
        {"id": "already_customer", "threshold": 7},
        {"customer_for": timedelta(days=7)},
        {"customer_for": timedelta(days=7) - MICROSECOND},
    ),
    (
        {"id": "fast_cycle", "threshold": 10},
        {"advocate_for": timedelta(minutes=10)},
        {"advocate_for": timedelta(minutes=10) + MICROSECOND},
    ),
    ({"id": "fast_cycle", "threshold": 10}, {"advocate_for": timedelta(0)}, {"advocate_for": -MICROSECOND}),
    ({"id": "ip_velocity", "threshold": 3}, {"friends_of_ip": 3}, {"friends_of_ip": 2}),
    ({"id": "advocate_velocity_hour", "threshold": 3}, {"friends_in_hour": 3}, {"friends_in_hour": 2}),
    ({"id": "advocate_velocity_day", "threshold": 3}, {"friends_in_day": 3}, {"friends_in_day": 2}),
    ({"id": "many_networks", "threshold": 3}, {"networks": 3}, {"networks": 2}),
    ({"id": "advocate_suspended", "threshold": 3}, {"rejections": 3}, {"rejections": 2}),
    ({"id": "disposable_email"}, {"is_disposable": True}, {"is_disposable": False}),
    ({"id": "blocklist"}, {"is_blocklisted": True}, {"is_blocklisted": False}),
    *(({"id": id_}, {"same": frozenset({id_})}, {"same": frozenset(SAME) - {id_}}) for id_ in SAME),
    ({"id": "already_bought"}, {"bought": True}, {"bought": False}),
    ({"id": "already_referred"}, {"referred": True}, {"referred": False}),
    ({"id": "circle"}, {"closes_circle": True}, {"closes_circle": False}),
    ({"id": "threshold_order"}, {"order": ("20.00", "USD")}, {"order": ("19.9999", "USD")}),
    ({"id": "threshold_order"}, {"order": ("21.00", "USD")}, {"order": ("21.0001", "USD")}),
    # 74.9907 SAR are 20.00001969 USD, 78.7402 SAR are 21.00001134 USD.
    ({"id": "threshold_order"}, {"order": ("74.9907", "SAR")}, {"order": ("74.9906", "SAR")}),
    ({"id": "threshold_order"}, {"order": ("78.7401", "SAR")}, {"order": ("78.7402", "SAR")}),
    ({"id": "threshold_order"}, {"order": ("20.50", "USD")}, {"order": ("20.50", "EUR")}),
]


def ids(setting: dict[str, Any], given: dict[str, Any]) -> list[str]:
    facts = {name: value for name, value in given.items() if name in Facts.__dataclass_fields__}
    around = {name: value for name, value in given.items() if name in Circumstances.__dataclass_fields__}
    assert given.keys() == facts.keys() | around.keys()
    judged_by = program({"action": "flag"} | setting)
    return [found.id for found in judge(Facts(**facts), Circumstances(**around), judged_by)]


@pytest.mark.parametrize(("setting", "over", "under"), CASES, ids=lambda case: str(case.get("id", "")))
def test_a_signal_holds_just_over_its_threshold_and_not_just_under(
    setting: dict[str, Any], over: dict[str, Any], under: dict[str, Any]
):
    assert ids(setting, over) == [setting["id"]]
    assert ids(setting, under) == []
    assert ids(setting | {"action": "off"}, over) == []


def test_every_signal_has_a_case():
    assert {setting["id"] for setting, _, _ in CASES} | {"self"} == SIGNALS.keys()


def test_nothing_holds_where_nothing_is_known():
    assert judge(Facts(), Circumstances(), every_signal()) == []


ALL = Facts(
    same=frozenset(SAME),  # pyright: ignore[reportArgumentType]
    similarity=Fraction(1),
    customer_for=timedelta(days=40_000),
    advocate_for=timedelta(0),
    friends_of_ip=10**6,
    friends_in_hour=10**6,
    friends_in_day=10**6,
    networks=10**6,
    rejections=10**6,
    is_disposable=True,
    is_blocklisted=True,
)
AROUND = Circumstances(referred=True, bought=True, closes_circle=True, order=("20.00", "USD"))


def test_the_signals_of_the_referral_rules_come_first_and_all_are_found():
    found = judge(ALL, AROUND, every_signal())
    assert [signal.id for signal in found][:2] == ["already_referred", "already_bought"]
    assert {signal.id for signal in found} == SIGNALS.keys() - {"self"}
    assert len(found) == len(SIGNALS) - 1
    assert {signal[1:] for signal in found} == {("flag", 1)}


def test_a_code_of_ones_own_blocks_alone_also_where_it_is_not_listed():
    around = replace(AROUND, is_self=True)
    assert judge(ALL, around, every_signal()) == [("self", "block", 0)]
    assert judge(Facts(), around, program()) == [("self", "block", 0)]
    assert judge(Facts(), around, program({"id": "self", "weight": 7})) == [("self", "block", 7)]


def test_actions_and_weights_are_those_of_the_version():
    judged_by = program({"id": "same_ip", "action": "score", "weight": 30}, {"id": "same_device", "action": "block"})
    assert judge(ALL, AROUND, judged_by) == [("same_device", "block", 0), ("same_ip", "score", 30)]


def test_the_amount_is_that_of_the_sign_up():
    dear = every_signal(qualifies={"amount_at_least": "100.00", "within_days": 30})
    around = Circumstances(order=("103.00", "USD"), terms=dear)
    cheap = program({"id": "threshold_order"})
    assert [found.id for found in judge(Facts(), around, cheap)] == ["threshold_order"]
    assert judge(Facts(), replace(around, terms=None), cheap) == []
