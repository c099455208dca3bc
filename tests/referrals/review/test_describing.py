"""The facts of both sides in words."""

from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from uuid import UUID

import pytest

from services.referrals.rules.describing import Others, Purchased, describe
from services.referrals.rules.referral import Referral, State
from services.referrals.rules.signals import Facts
from tests.referrals.programs import program
from tests.referrals.shop import at

REFERRAL = Referral(UUID(int=1), "ada", "fay", "CDFGHJKM", 1, State.SIGNED_UP, at(0))
NO_OTHERS = Others(0, 0, 0, 0, 0)


def test_little_is_known():
    described = describe(REFERRAL, Facts(), NO_OTHERS, None, program())
    assert described == (("The advocate has no other referral.",), (), ())


def test_both_sides():
    facts = Facts(
        same=frozenset({"same_ip", "same_device"}),
        similarity=Fraction(9, 10),
        customer_for=timedelta(seconds=30),
        advocate_for=timedelta(days=3, hours=5),
        friends_of_ip=4,
        friends_in_hour=2,
        friends_in_day=12,
        networks=3,
        rejections=1,
        is_disposable=True,
        is_blocklisted=True,
    )
    referral = replace(REFERRAL, has_bought=True, was_referred=True)
    described = describe(referral, facts, Others(7, 4, 1, 1, 1), Purchased("20.50", "SAR", at(2)), program())
    assert described.advocate == (
        "The advocate registered 3 days before the sign-up.",
        "Of the advocate's 7 other referrals, 4 are approved, 1 voided, 1 rejected for fraud, 1 by a person.",
        "12 friends signed up with the advocate's codes in the 24 hours up to the sign-up, 2 of them in the last hour.",
        "Friends signed up with this code from 3 networks in the 7 days up to the sign-up.",
    )
    assert described.friend == (
        "The friend registered less than a minute before the sign-up.",
        "The friend had bought before they signed up with the code.",
        "The friend had signed up with the code of another customer before.",
        "The friend's order of 20.50 SAR came 2 hours after the sign-up; 20.00 USD qualify.",
        "4 friends signed up from this IP address in the 7 days up to the sign-up.",
        "The friend's e-mail address is of a provider of disposable addresses.",
        "An e-mail address, domain, IP address or country of the friend is on the block list.",
    )
    assert described.both == (
        "The friend and the advocate use the same device.",
        "The friend and the advocate have the same IP address.",
        "Their e-mail addresses have the same domain, and are alike by 90% before it.",
    )


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (timedelta(), "at the instant of"),
        (timedelta(minutes=1), "1 minute before"),
        (timedelta(minutes=-59), "59 minutes after"),
        (timedelta(hours=1), "1 hour before"),
        (timedelta(hours=-47), "1 day after"),
        (timedelta(days=400), "400 days before"),
    ],
)
def test_spans_in_words(span: timedelta, words: str):
    [first, _] = describe(REFERRAL, Facts(advocate_for=span), NO_OTHERS, None, program()).advocate
    assert first == f"The advocate registered {words} the sign-up."
