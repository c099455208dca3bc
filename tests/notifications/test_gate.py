"""Whether a message may be sent: each reason, their order, and the edges of each."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifications.rules import gate
from services.notifications.rules.gate import (
    Candidate,
    Hold,
    Limits,
    Recipient,
    Send,
    Skip,
    Verdict,
    counting,
    judge,
    mailbox,
    next_attempt,
    phone_number,
)
from services.notifications.rules.message import Channel, Kind, Reason, Topic
from services.notifications.rules.preferences import Preferences
from services.notifications.rules.profile import Profile, learn
from services.notifications.rules.quiet import QuietHours
from tests.notifications.world import NOW, ago, erased, registered

STRANGER = Profile("c")
TICK = timedelta(microseconds=1)
LIMITS = Limits()
NIGHT = NOW.replace(hour=22)
MORNING = NOW.replace(day=2, hour=8)
LEAVING = (Channel.EMAIL, Channel.SMS, Channel.PUSH)
REACHABLE = {"email": "mona@example.org", "phone": "+966 50 123 4567"}
YES = {"email": True, "sms": True, "push": True}
ADDRESSES = {Channel.EMAIL: "mona@example.org", Channel.SMS: "+966501234567", Channel.PUSH: ""}


def profile_with(**details: Any) -> Profile:
    return learn(STRANGER, registered("c", ago(days=30), **details))


ERASED = learn(profile_with(**REACHABLE), erased("c", ago(days=1)))
MONA = Recipient(profile_with(**REACHABLE, marketing_consent=YES), has_browser=True)


def candidate(channel: Channel = Channel.EMAIL, kind: Kind = Kind.TRANSACTIONAL, **changes: Any) -> Candidate:
    usual = Candidate(kind, Topic.OFFERS if kind is Kind.MARKETING else Topic.POINTS, channel, NOW, NOW)
    return replace(usual, **changes)


def marketing(channel: Channel = Channel.EMAIL, **changes: Any) -> Candidate:
    return candidate(channel, Kind.MARKETING, **changes)


@pytest.mark.parametrize("channel", LEAVING)
@pytest.mark.parametrize("kind", Kind)
def test_whoever_wants_all_gets_it_on_every_channel(channel: Channel, kind: Kind):
    assert judge(candidate(channel, kind), MONA, NOW, LIMITS) == Send(ADDRESSES[channel])


@pytest.mark.parametrize(
    "profile, occurred_at, made_at, expected",
    [
        (MONA.profile, ago(days=2), NOW, Send("mona@example.org")),
        (MONA.profile, ago(days=2) - TICK, NOW, Skip(Reason.TOO_OLD)),
        (STRANGER, ago(days=3), NOW, Skip(Reason.TOO_OLD)),
        (STRANGER, NOW, NOW, Hold(NOW + timedelta(minutes=10), Reason.NO_PROFILE)),
        (STRANGER, NOW, ago(minutes=10) + TICK, Hold(NOW + TICK, Reason.NO_PROFILE)),
        (STRANGER, NOW, ago(minutes=10), Skip(Reason.NO_PROFILE)),
        (STRANGER, ago(days=3), ago(minutes=10), Skip(Reason.NO_PROFILE)),
        (ERASED, NOW, NOW, Skip(Reason.ERASED)),
        (learn(ERASED, registered("c", NOW, **REACHABLE)), ago(days=1), NOW, Skip(Reason.ERASED)),
        (learn(ERASED, registered("c", NOW, **REACHABLE)), NOW, NOW, Send("mona@example.org")),
        (profile_with(), NOW, NOW, Skip(Reason.NO_ADDRESS)),
        (profile_with(email=""), NOW, NOW, Skip(Reason.NO_ADDRESS)),
        (profile_with(email="not an address"), NOW, NOW, Skip(Reason.BAD_ADDRESS)),
    ],
)
def test_age_profile_and_address(profile: Profile, occurred_at: datetime, made_at: datetime, expected: Verdict):
    message = candidate(occurred_at=occurred_at, created_at=made_at)
    assert judge(message, Recipient(profile), NOW, LIMITS) == expected


@pytest.mark.parametrize(
    "channel, details, expected",
    [
        (Channel.SMS, {}, Skip(Reason.NO_ADDRESS)),
        (Channel.SMS, {"phone": "unknown"}, Skip(Reason.BAD_ADDRESS)),
        (Channel.SMS, {"phone": "050 123 4567"}, Skip(Reason.BAD_ADDRESS)),
        (Channel.SMS, {"phone": "050 123 4567", "country": "sa"}, Send("+966501234567")),
        (Channel.PUSH, {}, Skip(Reason.NO_ADDRESS)),
    ],
)
def test_addresses_of_other_channels(channel: Channel, details: dict[str, Any], expected: Verdict):
    assert judge(candidate(channel), Recipient(profile_with(**details)), NOW, LIMITS) == expected


OFF = Preferences(off=frozenset(LEAVING))
NO_TOPIC = Preferences(topics_off=frozenset((topic, channel) for topic in Topic for channel in Channel))


@pytest.mark.parametrize(
    "message, changes, expected",
    [
        (candidate(), {"suppressed": frozenset({Channel.EMAIL})}, Reason.SUPPRESSED),
        (candidate(), {"suppressed": frozenset({Channel.SMS})}, None),
        (candidate(topic=Topic.ACCOUNT), {"suppressed": frozenset({Channel.EMAIL})}, Reason.SUPPRESSED),
        (candidate(), {"preferences": OFF}, Reason.OPTED_OUT),
        (candidate(Channel.PUSH), {"preferences": OFF}, Reason.OPTED_OUT),
        (candidate(topic=Topic.ACCOUNT), {"preferences": OFF}, None),
        (candidate(), {"preferences": NO_TOPIC}, Reason.TOPIC_OPTED_OUT),
        (candidate(), {"preferences": Preferences(topics_off=frozenset({(Topic.POINTS, Channel.SMS)}))}, None),
        (candidate(), {"profile": profile_with(**REACHABLE)}, None),
        (marketing(), {"profile": profile_with(**REACHABLE)}, Reason.NO_CONSENT),
        (marketing(), {"profile": profile_with(**REACHABLE, marketing_consent={"sms": True})}, Reason.NO_CONSENT),
        (marketing(occurred_at=ago(hours=3), not_after=timedelta(hours=3)), {}, None),
        (marketing(occurred_at=ago(hours=3) - TICK, not_after=timedelta(hours=3)), {}, Reason.TOO_OLD),
        (marketing(occurred_at=ago(days=9), not_after=timedelta(days=9)), {}, None),
        (candidate(occurred_at=ago(hours=3), not_after=timedelta(hours=2)), {}, None),
        (marketing(), {"sent": {Channel.EMAIL: (ago(hours=1),)}}, Reason.FREQUENCY_CAP),
        (marketing(), {"sent": {Channel.SMS: (ago(hours=1),)}}, None),
        (candidate(), {"sent": {Channel.EMAIL: (ago(hours=1),) * 9}}, None),
        (marketing(), {"sent": {Channel.EMAIL: (ago(days=1), ago(days=6))}}, None),
        (marketing(), {"sent": {Channel.EMAIL: (ago(days=1), ago(days=2), ago(days=6))}}, Reason.FREQUENCY_CAP),
        (marketing(), {"sent": {Channel.EMAIL: (ago(days=1), ago(days=2), ago(days=7))}}, None),
    ],
)
def test_what_the_customer_wants(message: Candidate, changes: dict[str, Any], expected: Reason | None):
    verdict = judge(message, replace(MONA, **changes), NOW, LIMITS)
    assert verdict == (Send(ADDRESSES[message.channel]) if expected is None else Skip(expected))


@pytest.mark.parametrize(
    "message, is_held",
    [
        (candidate(), False),
        (marketing(), True),
        *((candidate(channel), True) for channel in (Channel.SMS, Channel.PUSH)),
        *((marketing(channel), True) for channel in (Channel.SMS, Channel.PUSH)),
        (candidate(Channel.IN_APP), False),
        (marketing(Channel.IN_APP), False),
    ],
)
def test_quiet_hours_hold_by_channel_and_kind(message: Candidate, is_held: bool):
    verdict = judge(message, MONA, NIGHT, LIMITS)
    assert verdict == (Hold(MORNING, Reason.QUIET_HOURS) if is_held else Send(ADDRESSES.get(message.channel, "")))


@pytest.mark.parametrize(
    "preferences, zone, expected",
    [
        (Preferences(), None, MORNING),
        (Preferences(), "Asia/Riyadh", MORNING - timedelta(hours=3)),
        (Preferences(time_zone="America/New_York"), "Asia/Riyadh", None),
        (Preferences(quiet_hours=QuietHours(time(9), time(9))), None, None),
        (Preferences(quiet_hours=QuietHours(time(22), time(22, 1))), None, NIGHT + timedelta(minutes=1)),
    ],
    ids=["default", "profile", "the chosen zone", "none wanted", "chosen"],
)
def test_whose_quiet_hours(preferences: Preferences, zone: str | None, expected: datetime | None):
    profile = profile_with(**REACHABLE, time_zone=zone)
    verdict = judge(candidate(Channel.SMS), Recipient(profile, preferences), NIGHT, LIMITS)
    assert verdict == (Send(ADDRESSES[Channel.SMS]) if expected is None else Hold(expected, Reason.QUIET_HOURS))


def test_a_cap_is_judged_before_quiet_hours():
    capped = replace(MONA, sent={Channel.SMS: (NOW,)})
    assert judge(marketing(Channel.SMS), capped, NIGHT, LIMITS) == Skip(Reason.FREQUENCY_CAP)


def test_what_is_sent_counts_for_the_next():
    after = counting(MONA, marketing(), NOW)
    assert judge(marketing(), after, NOW, LIMITS) == Skip(Reason.FREQUENCY_CAP)
    assert judge(marketing(Channel.SMS), after, NOW, LIMITS) == Send(ADDRESSES[Channel.SMS])
    assert counting(MONA, candidate(), NOW) is MONA


@pytest.mark.parametrize(
    "recipient, expected",
    [
        (Recipient(STRANGER), Send("")),
        (Recipient(ERASED), Skip(Reason.ERASED)),
        (replace(MONA, preferences=OFF), Send("")),
        (replace(MONA, preferences=NO_TOPIC), Skip(Reason.TOPIC_OPTED_OUT)),
        (replace(MONA, profile=profile_with()), Send("")),
    ],
)
def test_the_inbox_knows_erasure_and_topics_only(recipient: Recipient, expected: Verdict):
    message = marketing(Channel.IN_APP, occurred_at=ago(hours=12), not_after=timedelta(hours=1))
    assert judge(message, recipient, NIGHT, LIMITS) == expected


# One change for each reason, in the order of programs.md: whatever else applies, the first one is given.
REASONS: Mapping[Reason, dict[str, Any]] = {
    Reason.NO_ADDRESS: {"profile": profile_with(email=" ")},
    Reason.SUPPRESSED: {"suppressed": frozenset({Channel.EMAIL})},
    Reason.OPTED_OUT: {"off": True},
    Reason.TOPIC_OPTED_OUT: {"topic_off": True},
    Reason.NO_CONSENT: {"profile": profile_with(**REACHABLE)},
    Reason.TOO_OLD: {"occurred_at": ago(days=3)},
    Reason.FREQUENCY_CAP: {"sent": {Channel.EMAIL: (NOW,)}},
    Reason.QUIET_HOURS: {"now": NIGHT},
}


@given(st.lists(st.sampled_from(list(REASONS)), min_size=1, unique=True))
def test_of_several_reasons_the_first_is_given(reasons: Sequence[Reason]):
    message, recipient, now = marketing(), MONA, NOW
    wanted = sorted(reasons, key=list(REASONS).index, reverse=True)
    choices = Preferences()
    for reason in wanted:
        change = dict(REASONS[reason])
        now = change.pop("now", now)
        if change.pop("off", False):
            choices = replace(choices, off=frozenset(LEAVING))
        if change.pop("topic_off", False):
            choices = replace(choices, topics_off=frozenset({(Topic.OFFERS, Channel.EMAIL)}))
        if "occurred_at" in change:
            message = replace(message, occurred_at=change.pop("occurred_at"))
        recipient = replace(recipient, **change)
    verdict = judge(message, replace(recipient, preferences=choices), now, LIMITS)
    assert not isinstance(verdict, Send)
    assert verdict.reason is wanted[-1]


@given(st.lists(st.integers(0, 12 * 24), max_size=30), st.integers(0, 4), st.integers(0, 9))
def test_no_day_and_no_week_has_more_than_the_caps(hours: Sequence[int], per_day: int, per_week: int):
    limits, recipient, sent = Limits(per_day=per_day, per_week=per_week), MONA, list[datetime]()
    for hour in sorted(hours):
        now = ago(days=12) + timedelta(hours=hour)
        message = marketing(occurred_at=now, created_at=now)
        if isinstance(judge(message, recipient, now, limits), Send):
            recipient = counting(recipient, message, now)
            sent.append(now)
    days = [moment.date() for moment in sent]
    assert all(days.count(day) <= per_day for day in days)
    assert all(sum(timedelta() <= day - other < timedelta(days=7) for other in days) <= per_week for day in days)


@pytest.mark.parametrize(
    "text, country, expected",
    [
        ("+966 50 123 4567", None, "+966501234567"),
        ("0501234567", "SA", "+966501234567"),
        ("0501234567", None, None),
        ("٠٥٠١٢٣٤٥٦٧", "SA", "+966501234567"),
        ("0501234567", "Atlantis", None),
        ("12", "SA", None),
        ("+966 50 123 4567\r\nX: y", None, None),
        ("9" * 10_000, "SA", None),
    ],
)
def test_phone_number(text: str, country: str | None, expected: str | None):
    assert phone_number(text, country) == expected


@pytest.mark.parametrize(
    "text, expected",
    [
        ("mona@example.org", "mona@example.org"),
        ("Mona.Ali+shop@Example.ORG", "Mona.Ali+shop@example.org"),
        ("mona@exämple.org", "mona@xn--exmple-cua.org"),
        ("منى@example.org", "منى@example.org"),
        ("mona@shop.test", "mona@shop.test"),
        ("mona@localhost", None),
        ("mona@", None),
        ("mona", None),
        ("Mona <mona@example.org>", None),
        ("mona@example.org, eve@example.org", None),
        ("mona@example.org\r\nBcc: eve@example.org", None),
        ('"mona\r\n"@example.org', None),
    ],
)
def test_mailbox(text: str, expected: str | None):
    assert mailbox(text) == expected


@given(st.text(max_size=80))
def test_a_mailbox_has_no_line_break(text: str):
    address = mailbox(text)
    assert address is None or address.isprintable()


def test_pauses_double_up_to_a_bound():
    pauses = [next_attempt(attempts, NOW, jitter=1.0) - NOW for attempts in range(1, 11)]
    assert [pause / gate.FIRST_RETRY for pause in pauses] == [1, 2, 4, 8, 16, 32, 64, 128, 240, 240]


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_pauses_are_spread_over_half_of_their_length(attempts: int, jitter: float):
    pause = next_attempt(attempts, NOW, jitter) - NOW
    assert gate.FIRST_RETRY / 2 <= pause <= gate.LONGEST_RETRY
