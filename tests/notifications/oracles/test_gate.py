"""The gate, word for word from the contracts, against the product's."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from services.notifications.rules import gate
from services.notifications.rules.gate import Candidate, Hold, Limits, Recipient, Send, Skip
from services.notifications.rules.message import Channel, Kind, Topic
from services.notifications.rules.preferences import Preferences
from services.notifications.rules.profile import Profile, learn
from services.notifications.rules.quiet import QuietHours
from tests.notifications.world import erased, registered
from tests.support.depth import examples

ZONES = ("UTC", "Asia/Riyadh", "Europe/Berlin", "America/New_York", "Asia/Kathmandu")
SINCE = datetime(2026, 1, 1, tzinfo=UTC)
YEAR_MINUTES = 365 * 24 * 60


@dataclass(frozen=True)
class Case:
    """A message that would be sent now."""

    channel: str
    marketing: bool
    topic: str
    now: datetime
    age: timedelta
    not_after: timedelta | None
    zone: str
    address: str  # there, none, bad
    is_erased: bool
    suppressed: bool
    is_off: bool
    topic_off: bool
    consents: bool
    quiet: tuple[int, int]  # hours
    sent: tuple[int, ...]  # marketing messages on the channel: minutes ago


@st.composite
def cases(draw: st.DrawFn) -> Case:
    marketing = draw(st.booleans())
    topics = ["offers", "news", "surveys"] if marketing else ["account", "points", "orders"]
    rarely = st.sampled_from([False] * 5 + [True])
    return Case(
        channel=draw(st.sampled_from(["in_app", "email", "sms", "push"])),
        marketing=marketing,
        topic=draw(st.sampled_from(topics)),
        now=SINCE + timedelta(minutes=draw(st.integers(20 * 24 * 60, YEAR_MINUTES))),
        age=timedelta(minutes=draw(st.sampled_from([0, 60, 47 * 60, 48 * 60, 48 * 60 + 1, 100 * 60]))),
        not_after=draw(st.sampled_from([None, timedelta(hours=12), timedelta(hours=200)])),
        zone=draw(st.sampled_from(ZONES)),
        address=draw(st.sampled_from(["there"] * 5 + ["none", "bad"])),
        is_erased=draw(rarely),
        suppressed=draw(rarely),
        is_off=draw(rarely),
        topic_off=draw(rarely),
        consents=draw(st.sampled_from([True, True, False])),
        quiet=draw(st.sampled_from([(21, 8), (21, 8), (22, 22), (9, 17), (0, 6), (20, 0)])),
        sent=tuple(draw(st.lists(st.integers(0, 9 * 24 * 60), max_size=4))),
    )


def verdict(case: Case) -> str | datetime:
    """`send`, the reason of a skip, or the end of a hold in quiet hours."""
    inbox, mail = case.channel == "in_app", case.channel == "email"
    zone = ZoneInfo(case.zone)
    oldest = case.not_after if case.marketing and case.not_after is not None else timedelta(days=2)
    days = [(case.now - timedelta(minutes=ago)).astimezone(zone).date() for ago in case.sent]
    today = case.now.astimezone(zone).date()
    capped = days.count(today) >= 1 or sum(today - timedelta(days=6) <= day <= today for day in days) >= 3
    checks = (
        ("erased", case.is_erased),
        ("no_address", not inbox and case.address == "none"),
        ("bad_address", not inbox and case.channel != "push" and case.address == "bad"),
        ("suppressed", not inbox and case.suppressed),
        ("opted_out", not inbox and case.is_off and case.topic != "account"),
        ("topic_opted_out", case.topic_off),
        ("no_consent", not inbox and case.marketing and not case.consents),
        ("too_old", not inbox and case.age > oldest),
        ("frequency_cap", not inbox and case.marketing and capped),
    )
    for reason, applies in checks:
        if applies:
            return reason
    if inbox or (mail and not case.marketing):
        return "send"
    end = case.now
    while _is_quiet(end.astimezone(zone).time(), *case.quiet):
        end += timedelta(minutes=1)
    return "send" if end == case.now else end


def _is_quiet(local: time, start: int, end: int) -> bool:
    if start == end:
        return False
    return start <= local.hour < end if start < end else local.hour >= start or local.hour < end


def judged(case: Case) -> str | datetime:
    """What the product says."""
    channel, topic = Channel(case.channel), Topic(case.topic)
    addresses = {"there": ("mona@example.org", "+966501234567"), "none": (None, None), "bad": ("no mail", "12")}
    email, phone = addresses[case.address]
    profile = learn(
        Profile("c"),
        registered(
            "c",
            SINCE,
            email=email,
            phone=phone,
            time_zone=case.zone,
            marketing_consent=dict.fromkeys(("email", "sms", "push"), case.consents),
        ),
    )
    if case.is_erased:
        profile = learn(profile, erased("c", SINCE + timedelta(days=1)))
    wishes = Preferences(
        quiet_hours=QuietHours(time(case.quiet[0]), time(case.quiet[1])),
        off=frozenset({channel}) if case.is_off and channel is not Channel.IN_APP else frozenset(),
        topics_off=frozenset({(topic, channel)}) if case.topic_off else frozenset(),
    )
    recipient = Recipient(
        profile,
        wishes,
        frozenset({channel}) if case.suppressed else frozenset(),
        has_browser=case.address != "none",
        sent={channel: [case.now - timedelta(minutes=ago) for ago in case.sent]},
    )
    kind = Kind.MARKETING if case.marketing else Kind.TRANSACTIONAL
    occurred_at = case.now - case.age
    candidate = replace(Candidate(kind, topic, channel, occurred_at, occurred_at), not_after=case.not_after)
    match gate.judge(candidate, recipient, case.now, Limits()):
        case Send():
            return "send"
        case Hold(until):
            return until
        case Skip(reason):
            return reason.value


@examples(300, deep=10_000, deadline=None)
@given(cases())
def test_the_gate_judges_as_the_contracts_say(case: Case):
    assert judged(case) == verdict(case)
