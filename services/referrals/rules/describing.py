"""The facts about a referral in words, for the person who decides: of both sides, without personal data."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from services.referrals.rules.program.compiled import Program
from services.referrals.rules.program.signals import SIGNALS
from services.referrals.rules.referral import Referral
from services.referrals.rules.signals import Facts


class Described(NamedTuple):
    """What is known of the advocate, of the friend, and of both together, each in sentences."""

    advocate: tuple[str, ...]
    friend: tuple[str, ...]
    both: tuple[str, ...]


class Others(NamedTuple):
    """Numbers of an advocate's other referrals: in all, approved, voided, rejected for fraud, and by people."""

    referrals: int
    approved: int
    voided: int
    fraud: int
    decided: int


class Purchased(NamedTuple):
    """The qualifying order, as bought."""

    total: str
    currency: str
    time: datetime


def describe(
    referral: Referral, facts: Facts, others: Others, purchased: Purchased | None, program: Program
) -> Described:
    """Describe a referral; `program` is that of its sign-up, `purchased` its qualifying order."""
    return Described(
        tuple(_of_advocate(facts, others)),
        tuple(_of_friend(referral, facts, purchased, program)),
        tuple(_of_both(facts)),
    )


def _of_advocate(facts: Facts, others: Others) -> Iterator[str]:
    if facts.advocate_for is not None:
        yield f"The advocate registered {_before(facts.advocate_for)} the sign-up."
    if not others.referrals:
        yield "The advocate has no other referral."
    else:
        yield (
            f"Of the advocate's {_count(others.referrals, 'other referral')}, {others.approved} are approved, "
            f"{others.voided} voided, {others.fraud} rejected for fraud, {others.decided} by a person."
        )
    if facts.friends_in_day > 1:
        yield (
            f"{_count(facts.friends_in_day, 'friend')} signed up with the advocate's codes in the 24 hours up to the "
            f"sign-up, {facts.friends_in_hour} of them in the last hour."
        )
    if facts.networks > 1:
        yield f"Friends signed up with this code from {facts.networks} networks in the 7 days up to the sign-up."


def _of_friend(referral: Referral, facts: Facts, purchased: Purchased | None, program: Program) -> Iterator[str]:
    if facts.customer_for is not None:
        yield f"The friend registered {_before(facts.customer_for)} the sign-up."
    if referral.has_bought:
        yield SIGNALS["already_bought"].words
    if referral.was_referred:
        yield SIGNALS["already_referred"].words
    if purchased is not None:
        document = program.document
        yield (
            f"The friend's order of {purchased.total} {purchased.currency} came "
            f"{_before(referral.signed_up_at - purchased.time)} the sign-up; "
            f"{document.qualifies.amount_at_least} {document.currency} qualify."
        )
    if facts.friends_of_ip > 1:
        yield (
            f"{_count(facts.friends_of_ip, 'friend')} signed up from this IP address in the 7 days up to the sign-up."
        )
    if facts.is_disposable:
        yield SIGNALS["disposable_email"].words
    if facts.is_blocklisted:
        yield SIGNALS["blocklist"].words


def _of_both(facts: Facts) -> Iterator[str]:
    yield from (signal.words for id_, signal in SIGNALS.items() if id_ in facts.same)
    if facts.similarity and "same_email" not in facts.same:
        yield f"Their e-mail addresses have the same domain, and are alike by {float(facts.similarity):.0%} before it."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _before(span: timedelta) -> str:
    """A span of time as one before an instant: `3 days before`, `2 hours after`."""
    if not span:
        return "at the instant of"
    return f"{_length(abs(span))} {'before' if span > timedelta() else 'after'}"


def _length(span: timedelta) -> str:
    for unit, length in (("day", timedelta(days=1)), ("hour", timedelta(hours=1)), ("minute", timedelta(minutes=1))):
        if span >= length:
            return _count(span // length, unit)
    return "less than a minute"
