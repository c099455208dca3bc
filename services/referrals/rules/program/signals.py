"""The catalog of signals: what can speak against a referral, and how each is set where a document leaves it open."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Final, Literal, NamedTuple

SignalId = Literal[
    "self",
    "same_email",
    "similar_email",
    "same_phone",
    "same_payment",
    "same_device",
    "same_ip_and_agent",
    "same_ip",
    "same_name",
    "already_bought",
    "already_customer",
    "already_referred",
    "circle",
    "ip_velocity",
    "advocate_velocity_hour",
    "advocate_velocity_day",
    "fast_cycle",
    "disposable_email",
    "threshold_order",
    "many_networks",
    "advocate_suspended",
    "blocklist",
]
Action = Literal["off", "score", "flag", "block"]
"""`score` adds the signal's weight to the score; `flag` and `block` act by themselves, and add it too."""


class Threshold(NamedTuple):
    """The threshold of a signal: its unit in words, its default and its bounds."""

    unit: str
    default: int | str
    least: Fraction
    most: Fraction
    is_whole: bool = True


class Signal(NamedTuple):
    """A signal: what it means to a reader of a referral, its action where a document lists it without one."""

    words: str
    action: Action = "flag"
    threshold: Threshold | None = None


MOST_COUNTED: Final = 1_000
"""Counts of sign-ups in a time read the newest so many; no threshold of theirs is higher."""


def _number_of(unit: str, default: int, most: int = 100_000) -> Threshold:
    return Threshold(unit, default, Fraction(1), Fraction(most))


SIGNALS: Final[Mapping[SignalId, Signal]] = {
    "self": Signal("The friend used their own code.", "block"),
    "same_email": Signal("The friend and the advocate have the same e-mail address."),
    "similar_email": Signal(
        "The e-mail addresses of the friend and the advocate are nearly the same.",
        threshold=Threshold("similarity, from 0.5 to 1", "0.9", Fraction(1, 2), Fraction(1), is_whole=False),
    ),
    "same_phone": Signal("The friend and the advocate have the same phone number."),
    "same_payment": Signal("The friend and the advocate pay by the same means."),
    "same_device": Signal("The friend and the advocate use the same device."),
    "same_ip_and_agent": Signal("The friend and the advocate have the same IP address and the same browser."),
    "same_ip": Signal("The friend and the advocate have the same IP address."),
    "same_name": Signal("The friend and the advocate have the same name."),
    "already_bought": Signal("The friend had bought before they signed up with the code.", "block"),
    "already_customer": Signal(
        "The friend had been a customer for some time when they signed up with the code.",
        threshold=_number_of("days since the friend's registration", 1, 36_500),
    ),
    "already_referred": Signal("The friend had signed up with the code of another customer before.", "block"),
    "circle": Signal("The referral closes a circle: the friend had referred the advocate, directly or through others."),
    "ip_velocity": Signal(
        "Many friends signed up from the friend's IP address in the 7 days up to the sign-up.",
        threshold=_number_of("friends in 7 days", 10, MOST_COUNTED),
    ),
    "advocate_velocity_hour": Signal(
        "Many friends signed up with the advocate's codes in the hour up to the sign-up.",
        threshold=_number_of("friends in an hour", 5, MOST_COUNTED),
    ),
    "advocate_velocity_day": Signal(
        "Many friends signed up with the advocate's codes in the 24 hours up to the sign-up.",
        threshold=_number_of("friends in 24 hours", 20, MOST_COUNTED),
    ),
    "fast_cycle": Signal(
        "The advocate had registered only shortly before the friend signed up.",
        threshold=_number_of("minutes since the advocate's registration", 10),
    ),
    "disposable_email": Signal("The friend's e-mail address is of a provider of disposable addresses."),
    "threshold_order": Signal("The order is worth hardly more than what qualifies."),
    "many_networks": Signal(
        "Friends signed up with this code from many networks in the 7 days up to the sign-up.",
        threshold=_number_of("networks in 7 days", 20, MOST_COUNTED),
    ),
    "advocate_suspended": Signal(
        "People rejected several referrals of this advocate.", threshold=_number_of("rejections by people", 3)
    ),
    "blocklist": Signal("An e-mail address, domain, IP address or country of the friend is on the block list."),
}
"""By id. What is not listed in a document is off, but `self` always blocks."""


def words(id_: str) -> str:
    """A signal in words, without personal data."""
    signal = SIGNALS.get(id_)  # type: ignore[call-overload]
    return id_ if signal is None else signal.words
