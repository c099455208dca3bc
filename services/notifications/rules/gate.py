"""Whether a mail may be sent: decided when it is created, and again before each attempt to send it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from email_validator import EmailNotValidError, validate_email

from services.notifications.rules.notice import Channel, Kind
from services.notifications.rules.profile import Profile

OLDEST: Final = timedelta(days=2)
"""Maximum age of the news in a mail: a backfill or a long outage must not flood mailboxes."""

PATIENCE: Final = timedelta(minutes=10)
"""How long a mail waits for the customer's profile."""

FIRST_RETRY: Final = timedelta(minutes=1)
LONGEST_RETRY: Final = timedelta(hours=4)


class Reason(StrEnum):
    """Why a mail is held, skipped or failed."""

    NO_PROFILE = "no_profile"
    TOO_OLD = "too_old"
    NO_ADDRESS = "no_address"
    BAD_ADDRESS = "bad_address"
    NO_CONSENT = "no_consent"
    REJECTED = "rejected"
    """The mail server rejected it permanently."""
    GIVEN_UP = "given_up"
    """The mail server deferred it too often."""
    TEMPLATE_FAILED = "template_failed"


@dataclass(frozen=True, slots=True)
class Send:
    """The mail may be sent to this address."""

    address: str


@dataclass(frozen=True, slots=True)
class Hold:
    """The mail waits, at most until this instant."""

    until: datetime
    reason: Reason


@dataclass(frozen=True, slots=True)
class Skip:
    """The mail is never sent."""

    reason: Reason


Verdict = Send | Hold | Skip


def judge(kind: Kind, occurred_at: datetime, created_at: datetime, profile: Profile, now: datetime) -> Verdict:
    """Decide whether a mail about an event at `occurred_at`, created at `created_at`, may be sent now."""
    if now - occurred_at > OLDEST:
        return Skip(Reason.TOO_OLD)
    if not profile.is_known:
        until = created_at + PATIENCE
        return Hold(until, Reason.NO_PROFILE) if now < until else Skip(Reason.NO_PROFILE)
    if not profile.email:
        return Skip(Reason.NO_ADDRESS)
    if kind is Kind.MARKETING and not profile.consents(Channel.EMAIL):
        return Skip(Reason.NO_CONSENT)
    address = mailbox(profile.email)
    return Skip(Reason.BAD_ADDRESS) if address is None else Send(address)


def mailbox(text: str) -> str | None:
    """The address to send to, with the domain in its DNS form; None if the text is not an address."""
    try:
        # Only the syntax is checked. The reserved domain .test is allowed: its server decides, as for any other.
        valid = validate_email(text, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        return None
    return valid.ascii_email or f"{valid.local_part}@{valid.ascii_domain}"


def next_attempt(attempts: int, now: datetime, jitter: float) -> datetime:
    """When to try again after `attempts` attempts: exponential backoff, spread by `jitter` (0 to 1).

    The pause is between half of the backoff and all of it, so that mails deferred together are not retried together.
    """
    pause = min(FIRST_RETRY * 2 ** min(attempts - 1, 16), LONGEST_RETRY)
    return now + pause * (0.5 + jitter / 2)
