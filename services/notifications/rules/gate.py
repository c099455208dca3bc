"""Whether a message may be sent now: decided when it is made, and again each time it is about to be sent.

The checks stand in one order, and the first that applies is the reason that the customer and the log are given.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import Final

import phonenumbers
from email_validator import EmailNotValidError, validate_email

from services.notifications.rules import preferences as choices
from services.notifications.rules import profile as profiles
from services.notifications.rules import quiet
from services.notifications.rules.message import Channel, Kind, Reason, Topic
from services.notifications.rules.preferences import Preferences
from services.notifications.rules.profile import Profile
from services.notifications.rules.quiet import QuietHours

OLDEST: Final = timedelta(days=2)
"""Maximum age of the news in a message: a backfill or a long outage must not flood mailboxes."""

PATIENCE: Final = timedelta(minutes=10)
"""How long a message waits for the customer's profile."""

FIRST_RETRY: Final = timedelta(minutes=1)
LONGEST_RETRY: Final = timedelta(hours=4)

COUNTED: Final = timedelta(days=9)
"""How far back the marketing messages lie that a frequency cap may count: seven local days, in any zone."""

_LONGEST_PHONE: Final = 100
_NIGHT: Final = QuietHours(time(21), time(8))


@dataclass(frozen=True, slots=True)
class Limits:
    """What the settings say: the zone and the quiet hours of customers who chose none, and the frequency caps.

    `per_day` and `per_week` are the most marketing messages on one channel, on a local day and on seven. `channels` are
    those that a provider is set for: on the others nobody has an address.
    """

    zone: tzinfo = UTC
    quiet_hours: QuietHours = _NIGHT
    per_day: int = 1
    per_week: int = 3
    channels: frozenset[Channel] = frozenset(Channel)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A message that could be sent.

    Its age counts from `occurred_at`: when the event happened, or when the journey's step fell due after it.
    `not_after` is the age from which a journey does not want its marketing messages any more.
    """

    kind: Kind
    topic: Topic
    channel: Channel
    occurred_at: datetime
    created_at: datetime
    not_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Recipient:
    """What the gate knows of a customer.

    `suppressed` are the channels whose current address is suppressed; `has_browser`: there is a push subscription.
    `sent` are the instants of marketing messages that were sent or are being sent, within `COUNTED`, by channel.
    """

    profile: Profile
    preferences: Preferences = choices.DEFAULT
    suppressed: frozenset[Channel] = frozenset()
    has_browser: bool = False
    sent: Mapping[Channel, Sequence[datetime]] = field(default_factory=dict[Channel, Sequence[datetime]])

    def zone(self, default: tzinfo) -> tzinfo:
        """The customer's time zone: the chosen one, else that of the profile."""
        named = (self.preferences.time_zone, self.profile.time_zone)
        return next((zone for zone in map(quiet.zone_of, named) if zone is not None), default)

    @property
    def time_zone(self) -> str | None:
        """The name of the customer's time zone: the chosen one, else that of the profile."""
        return self.preferences.time_zone or self.profile.time_zone

    @property
    def locale(self) -> str | None:
        """The customer's locale: the chosen one, else that of the profile."""
        return self.preferences.locale or self.profile.locale


@dataclass(frozen=True, slots=True)
class Send:
    """The message may be sent, to this address (mailbox or phone number; empty for inbox and push)."""

    address: str


@dataclass(frozen=True, slots=True)
class Hold:
    """The message waits, at most until this instant."""

    until: datetime
    reason: Reason


@dataclass(frozen=True, slots=True)
class Skip:
    """The message is never sent."""

    reason: Reason


Verdict = Send | Hold | Skip


def judge(message: Candidate, recipient: Recipient, now: datetime, limits: Limits) -> Verdict:
    """Decide whether a message may be sent now."""
    profile = recipient.profile
    if profile.is_erased or not profiles.is_after_erasure(profile, message.occurred_at):
        return Skip(Reason.ERASED)
    wants_topic = recipient.preferences.wants_topic(message.topic, message.channel)
    if message.channel is Channel.IN_APP:
        return Send("") if wants_topic else Skip(Reason.TOPIC_OPTED_OUT)
    if not profile.is_known:
        return _judge_stranger(message, now)
    is_offered = message.channel in limits.channels
    address = address_of(recipient, message.channel) if is_offered else Reason.NO_ADDRESS
    if isinstance(address, Reason):
        return Skip(address)
    refusal = _refusal(message, recipient, wants_topic=wants_topic)
    if refusal is None and is_too_old(message, now):
        refusal = Reason.TOO_OLD
    if refusal is not None:
        return Skip(refusal)
    return _in_time(message, recipient, now, limits) or Send(address)


def is_too_old(message: Candidate, now: datetime) -> bool:
    """Whether nobody wants the news any more. What is in the inbox is never too old."""
    is_limited = message.kind is Kind.MARKETING and message.not_after is not None
    oldest = message.not_after if is_limited and message.not_after is not None else OLDEST
    return message.channel is not Channel.IN_APP and now - message.occurred_at > oldest


def counting(recipient: Recipient, message: Candidate, now: datetime) -> Recipient:
    """The recipient after the message is sent, for the frequency caps of further ones."""
    if message.kind is not Kind.MARKETING or message.channel is Channel.IN_APP:
        return recipient
    sent = (*recipient.sent.get(message.channel, ()), now)
    return replace(recipient, sent={**recipient.sent, message.channel: sent})


def address_of(recipient: Recipient, channel: Channel) -> str | Reason:
    """The address on a channel, empty for inbox and push; or why there is none."""
    profile = recipient.profile
    match channel:
        case Channel.EMAIL:
            return _usable(profile.email, mailbox(profile.email or ""))
        case Channel.SMS:
            return _usable(profile.phone, phone_number(profile.phone or "", profile.country))
        case Channel.PUSH:
            return "" if recipient.has_browser else Reason.NO_ADDRESS
        case Channel.IN_APP:
            return ""


def _usable(given: str | None, address: str | None) -> str | Reason:
    if not given:
        return Reason.NO_ADDRESS
    return Reason.BAD_ADDRESS if address is None else address


def _judge_stranger(message: Candidate, now: datetime) -> Verdict:
    until = message.created_at + PATIENCE
    if now >= until:
        return Skip(Reason.NO_PROFILE)
    return Skip(Reason.TOO_OLD) if is_too_old(message, now) else Hold(until, Reason.NO_PROFILE)


def _refusal(message: Candidate, recipient: Recipient, *, wants_topic: bool) -> Reason | None:
    """Why the customer does not want the message, or the owner of the address does not."""
    if message.channel in recipient.suppressed:
        return Reason.SUPPRESSED
    # About the account itself (a lost password, an erasure) customers are told on every channel that they have.
    if not recipient.preferences.wants(message.channel) and message.topic is not Topic.ACCOUNT:
        return Reason.OPTED_OUT
    if not wants_topic:
        return Reason.TOPIC_OPTED_OUT
    if message.kind is Kind.MARKETING and not recipient.profile.consents.granted(message.channel):
        return Reason.NO_CONSENT
    return None


def _in_time(message: Candidate, recipient: Recipient, now: datetime, limits: Limits) -> Verdict | None:
    """Why it is not the time for the message."""
    zone = recipient.zone(limits.zone)
    is_marketing = message.kind is Kind.MARKETING
    if is_marketing:
        today, week = quiet.count(recipient.sent.get(message.channel, ()), now, zone)
        if today >= limits.per_day or week >= limits.per_week:
            return Skip(Reason.FREQUENCY_CAP)
    if is_marketing or message.channel is not Channel.EMAIL:
        hours = recipient.preferences.quiet_hours or limits.quiet_hours
        until = quiet.end_of_quiet(now, hours, zone)
        return None if until is None else Hold(until, Reason.QUIET_HOURS)
    return None


def mailbox(text: str) -> str | None:
    """The address to send to, with the domain in its DNS form; None if the text is not an address."""
    try:
        # Only the syntax is checked. The reserved domain .test is allowed: its server decides, as for any other.
        valid = validate_email(text, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        return None
    return valid.ascii_email or f"{valid.local_part}@{valid.ascii_domain}"


def phone_number(text: str, country: str | None) -> str | None:
    """The phone number in E.164, a national one by its country; None if the text is not a phone number."""
    if len(text) > _LONGEST_PHONE:
        return None
    try:
        number = phonenumbers.parse(text, country.strip().upper() if country else None)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def next_attempt(attempts: int, now: datetime, jitter: float) -> datetime:
    """When to try again after `attempts` attempts: exponential backoff, spread by `jitter` (0 to 1).

    The pause is between half of the backoff and all of it, so that messages deferred together are not retried together.
    """
    pause = min(FIRST_RETRY * 2 ** min(attempts - 1, 16), LONGEST_RETRY)
    return now + pause * (0.5 + jitter / 2)
