"""The compiled program: money by rates, instants, and the settings of signals."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.referrals.rules.program.compiled import Cap, Milestone, Setting
from services.referrals.rules.program.signals import SIGNALS, words
from tests.referrals.programs import MINIMAL, WHOLE, program

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)


def test_the_example_of_the_contract():
    compiled = program(WHOLE, version=7)
    assert (compiled.version, compiled.advocate_points, compiled.friend_points) == (7, 500, 200)
    assert (compiled.amount, compiled.nth, compiled.within) == (20, 1, timedelta(days=30))
    assert compiled.deadline(NOON) == NOON + timedelta(days=30)
    assert compiled.due_at(NOON) == NOON + timedelta(days=14)
    assert compiled.caps == (Cap(10, None, "month", "advocate"),)
    assert compiled.milestones == (Milestone(5, 1000),)
    assert (compiled.flag_at, compiled.block_at, compiled.then) == (50, 100, "approve")
    assert compiled.settings["same_device"] == Setting("block")
    assert compiled.settings["same_ip"] == Setting("score", 30)
    assert compiled.link == "https://shop.example.org/?ref={code}"
    assert compiled.share["ar"] == "انضم إليّ: {link}"


def test_what_is_not_listed_is_off_and_self_always_blocks():
    settings = program(MINIMAL).settings
    assert settings.keys() == SIGNALS.keys()
    assert {id_ for id_, setting in settings.items() if setting.action != "off"} == {"self"}
    assert settings["self"].action == "block"


def test_the_actions_of_listed_signals():
    listed = program(MINIMAL, ("/signals", [{"id": id_} for id_ in SIGNALS])).settings
    blocking = {"self", "already_bought", "already_referred"}
    assert {id_: setting.action for id_, setting in listed.items()} == {
        id_: "block" if id_ in blocking else "flag" for id_ in SIGNALS
    }
    weighted = program(MINIMAL, ("/signals", [{"id": "self", "weight": 7}])).settings
    assert weighted["self"] == Setting("block", 7)


@pytest.mark.parametrize(
    ("id_", "sent", "expected"),
    [
        ("similar_email", None, Fraction(9, 10)),
        ("similar_email", "0.95", Fraction(19, 20)),
        ("similar_email", 0.9, Fraction(9, 10)),
        ("similar_email", 0.7, Fraction(7, 10)),
        ("similar_email", 1, Fraction(1)),
        ("similar_email", "0.889", Fraction(889, 1000)),
        ("ip_velocity", 3, Fraction(3)),
        ("ip_velocity", None, Fraction(10)),
        ("same_ip", None, None),
    ],
)
def test_thresholds_are_exact(id_: Any, sent: object, expected: Fraction | None):
    assert program(MINIMAL, ("/signals", [{"id": id_, "threshold": sent}])).settings[id_].threshold == expected


def test_the_defaults_of_thresholds_are_within_their_bounds():
    for id_, signal in SIGNALS.items():
        if signal.threshold is not None:
            explicit = program(MINIMAL, ("/signals", [{"id": id_, "threshold": signal.threshold.default}]))
            assert explicit.settings == program(MINIMAL, ("/signals", [{"id": id_}])).settings


def test_every_signal_has_words():
    assert all(words(id_) == signal.words and signal.words.endswith(".") for id_, signal in SIGNALS.items())
    assert len({signal.words for signal in SIGNALS.values()}) == len(SIGNALS) == 22
    assert words("signal_of_a_later_release") == "signal_of_a_later_release"


@pytest.mark.parametrize(
    ("total", "currency", "is_enough"),
    [
        ("20.00", "USD", True),
        ("20", "USD", True),
        ("0020.0000", "USD", True),
        ("19.9999", "USD", False),
        # 0.2667: 74.9906… SAR
        ("74.9907", "SAR", True),
        ("74.9906", "SAR", False),
        # exactly 20.00
        ("80.00", "QAR", True),
        ("79.9999", "QAR", False),
        ("999999999999.9999", "EUR", False),
    ],
)
def test_an_order_counts_by_its_exact_worth(total: str, currency: str, is_enough: bool):
    compiled = program(MINIMAL, ("/rates", {"SAR": "0.2667", "QAR": "0.25"}))
    assert compiled.is_enough(total, currency) is is_enough
    worth = compiled.worth(total, currency)
    assert (worth is not None and worth >= 20) is is_enough


@given(
    st.integers(0, 10**8),
    st.decimals("0.000000000001", 1000, places=12, allow_nan=False, allow_infinity=False),
    st.decimals(0, 1000, places=4, allow_nan=False, allow_infinity=False),
)
def test_enough_is_what_is_worth_the_amount(total: int, rate: Any, amount: Any):
    text = f"{total // 10_000}.{total % 10_000:04}"
    compiled = program(MINIMAL, ("/rates", {"SAR": f"{rate:f}"}), ("/qualifies/amount_at_least", f"{amount:f}"))
    assert compiled.is_enough(text, "SAR") == (Fraction(text) * Fraction(rate) >= Fraction(amount))


def test_nobody_decides_before_the_referral_is_due():
    compiled = program(WHOLE)
    due = NOON + timedelta(days=20)
    assert compiled.undecided_at(NOON, due) == due
    assert compiled.undecided_at(NOON + timedelta(days=7), due) == NOON + timedelta(days=21)


def test_the_networks_of_the_block_list():
    cidrs = ["203.0.113.77/24", "2001:db8::/48", "::ffff:192.0.2.0/120", "198.51.100.1"]
    countries = ["EG", "EG"]
    blocklist = program(MINIMAL, ("/blocklist", {"cidrs": cidrs, "countries": countries})).blocklist
    assert blocklist.networks == tuple(
        map(ip_network, ("203.0.113.0/24", "2001:db8::/48", "192.0.2.0/24", "198.51.100.1/32"))
    )
    assert blocklist.countries == {"EG"}


def test_english_is_always_among_the_texts():
    texts = program(MINIMAL, ("/share", {"ar": "انضم: {link}"})).share
    assert texts == {"en": program(MINIMAL).share["en"], "ar": "انضم: {link}"}
