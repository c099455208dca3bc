"""A profile does not depend on the order in which its events arrive."""

from dataclasses import replace
from datetime import timedelta
from functools import reduce
from typing import Any
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifications.rules.consent import NOTHING
from services.notifications.rules.gate import Recipient, address_of, mailbox
from services.notifications.rules.message import Channel, Reason
from services.notifications.rules.profile import Detail, Profile, learn
from shared.contracts.envelope import Event
from shared.contracts.values import trim
from tests.notifications.world import NOW, ago, earned, erased, registered, updated

HOURS = st.integers(0, 3)  # few, so that many events share a time
NAMES = st.sampled_from([None, "Mona", "منى", "Zoe"])
CONSENTS = st.none() | st.fixed_dictionaries({}, optional={"email": st.none() | st.booleans(), "sms": st.booleans()})
DETAILS = st.fixed_dictionaries(
    {}, optional={"name": NAMES, "locale": st.sampled_from([None, "ar", "en"]), "marketing_consent": CONSENTS}
)
EVENTS = st.lists(
    st.builds(lambda hours, details: registered("c", ago(hours=hours), **details), HOURS, DETAILS)
    | st.builds(lambda hours, details: updated("c", ago(hours=hours), **details), HOURS, DETAILS)
    | st.builds(lambda hours: erased("c", ago(hours=hours)), HOURS),
    max_size=6,
)


def learn_all(events: list[Event]) -> Profile:
    return reduce(learn, events, Profile("c"))


@given(EVENTS, st.randoms(use_true_random=False))
def test_any_order_of_arrival_gives_the_same_profile(events: list[Event], random: Any):
    """Updates come after registrations here, since an erased customer's update is dropped."""
    updates = [event for event in events if event.type == "shop.customer.updated.v1"]
    registrations = [event for event in events if event.type == "shop.customer.registered.v1"]
    erasures = [event for event in events if event.type == "shop.customer.erased.v1"]

    def arrive() -> list[Event]:
        arrival = random.sample(registrations, len(registrations)) + random.sample(updates, len(updates))
        for erasure in erasures:
            arrival.insert(random.randint(0, len(arrival)), erasure)
        return arrival

    assert in_short(learn_all(arrive())) == in_short(learn_all(arrive()))


def in_short(profile: Profile) -> tuple[Profile, dict[Channel, bool]]:
    """The profile, and the consents in force; the ledger has the order in which they were recorded."""
    return replace(profile, consents=NOTHING), {
        channel: profile.consents.granted(channel) for channel in profile.consents.standings
    }


@given(EVENTS, st.randoms(use_true_random=False))
def test_only_a_later_registration_undoes_an_erasure(events: list[Event], random: Any):
    profile = learn_all(random.sample(events, len(events)))
    erasures = [event.time for event in events if event.type == "shop.customer.erased.v1"]
    registrations = [event.time for event in events if event.type == "shop.customer.registered.v1"]
    if erasures and max(registrations, default=NOW - timedelta(days=9)) <= max(erasures):
        assert (profile.details, profile.is_known, profile.is_erased) == ({}, False, True)


@given(EVENTS)
def test_repeated_events_change_nothing(events: list[Event]):
    """Updates behind registrations, as above."""
    arrived = sorted(events, key=lambda event: event.type == "shop.customer.updated.v1")
    assert in_short(learn_all(arrived + arrived)) == in_short(learn_all(arrived))


@given(EVENTS)
def test_nothing_from_before_an_erasure_is_kept(events: list[Event]):
    profile = learn_all(events)
    if profile.erased_at is not None:
        assert all(detail.at > profile.erased_at for detail in profile.details.values())
        assert profile.seen_at is None or profile.seen_at > profile.erased_at


def test_the_newest_time_wins_field_by_field():
    profile = learn_all(
        [
            updated("c", ago(hours=1), name="New"),
            registered("c", ago(hours=3), name="Old", email="old@example.org", locale="ar"),
            updated("c", ago(hours=2), email="new@example.org"),
        ]
    )
    assert (profile.name, profile.email, profile.locale) == ("New", "new@example.org", "ar")


@pytest.mark.parametrize(
    "later, expected",
    [
        (updated("c", NOW), "Mona"),
        (updated("c", NOW, name=None), None),
        (registered("c", NOW, name=None), "Mona"),
        (updated("c", ago(hours=2), name=None), "Mona"),
    ],
    ids=["absent stays", "null clears", "null in a registration says nothing", "an older null does not clear"],
)
def test_absent_and_null(later: Event, expected: str | None):
    assert learn_all([registered("c", ago(hours=1), name="Mona"), later]).name == expected


@pytest.mark.parametrize(
    "later, expected",
    [
        ({}, True),
        ({"marketing_consent": {}}, True),
        ({"marketing_consent": {"sms": False}}, True),
        ({"marketing_consent": {"email": False}}, False),
        ({"marketing_consent": {"email": None}}, False),
        ({"marketing_consent": None}, False),
    ],
)
def test_consent_is_a_field_per_channel(later: dict[str, Any], expected: bool):
    first = registered("c", ago(hours=1), marketing_consent={"email": True})
    profile = learn_all([first, updated("c", NOW, **later)])
    assert profile.consents.granted(Channel.EMAIL) is expected
    assert not profile.consents.granted(Channel.PUSH)


def test_refused_consent_wins_at_the_same_time():
    yes, no = (updated("c", NOW, marketing_consent={"email": answer}) for answer in (True, False))
    assert not learn_all([yes, no]).consents.granted(Channel.EMAIL)
    assert not learn_all([no, yes]).consents.granted(Channel.EMAIL)


def test_late_events_from_before_an_erasure_change_nothing():
    profile = learn_all([registered("c", ago(hours=2), name="Mona"), erased("c", ago(hours=1))])
    assert not profile.is_known
    assert profile.details == {}
    assert learn(profile, updated("c", ago(hours=1), name="Mona")) == profile
    again = learn(profile, registered("c", ago(hours=1) + timedelta(microseconds=1), locale="ar"))
    assert again.is_known
    assert (again.name, again.locale) == (None, "ar")


def test_events_of_other_topics_change_nothing():
    profile = learn_all([registered("c", name="Mona")])
    assert learn(profile, earned("c", 5)) is profile


BLANKS = [" ", "\u00a0", "\u2003", "\u3000", "\t", "\r\n", "\u200b", "\ufeff", "\u2060", "\u202a\u200e", "\u200d"]


@pytest.mark.parametrize("after", BLANKS, ids=ascii)
@pytest.mark.parametrize("before", ["", *BLANKS[1:3]], ids=ascii)
@pytest.mark.parametrize("make", [registered, updated])
def test_white_space_around_an_address_or_phone_number_is_removed(make: Any, before: str, after: str):
    event = make(
        "c", email=f"{before}mona@example.org{after}", phone=f"{before}+966 50 123{after}", name=f"{before}Mona"
    )
    profile = learn_all([event])
    assert profile.email == profile.details["email"].value == "mona@example.org"
    assert profile.details["phone"].value == "+966 50 123"
    assert mailbox(profile.email) == "mona@example.org"
    assert profile.details["name"].value == f"{before}Mona"


def test_white_space_alone_is_not_an_address():
    profile = learn_all([registered("c", email=" \u00a0\u200b ")])
    assert profile.email == ""
    assert address_of(Recipient(profile), Channel.EMAIL) is Reason.NO_ADDRESS


def test_an_address_stored_with_white_space_is_read_without_it():
    kept = Profile("c", {"email": Detail("\u00a0mona@example.org ", NOW)}, NOW)
    assert address_of(Recipient(kept), Channel.EMAIL) == "mona@example.org"


@given(st.text(max_size=12))
def test_trimming_touches_the_ends_only(text: str):
    trimmed = trim(text)
    assert trimmed in text
    assert trim(trimmed) == trimmed
    assert trim(f"\u00a0{text}\u200b") == trimmed
    rest = text.replace(trimmed, "", 1)
    assert all(char.isspace() or category(char) == "Cf" for char in rest)
