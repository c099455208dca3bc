"""Whether a mail may go out: judged when it is made, and again each time it is to be sent."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from email_validator import EmailNotValidError, validate_email

from services.notifications.rules.notice import Channel, Kind
from services.notifications.rules.profile import Profile

OLDEST: Final = timedelta(days=2)
"""How old what a mail tells may be: a backfill or a long outage must not flood mailboxes."""

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
    """The mail server refused it for good."""
    GIVEN_UP = "given_up"
    """The mail server put it off too often."""
    TEMPLATE_FAILED = "template_failed"


@dataclass(frozen=True, slots=True)
class Send:
    """It may go to this address."""

    address: str


@dataclass(frozen=True, slots=True)
class Hold:
    """It waits, until then at most."""

    until: datetime
    reason: Reason


@dataclass(frozen=True, slots=True)
class Skip:
    """It is never sent."""

    reason: Reason


Verdict = Send | Hold | Skip


def judge(kind: Kind, occurred_at: datetime, made_at: datetime, profile: Profile, now: datetime) -> Verdict:
    """Whether a mail about what happened at `occurred_at`, made at `made_at`, may go out now."""
    if now - occurred_at > OLDEST:
        return Skip(Reason.TOO_OLD)
    if not profile.is_known:
        until = made_at + PATIENCE
        return Hold(until, Reason.NO_PROFILE) if now < until else Skip(Reason.NO_PROFILE)
    if not profile.email:
        return Skip(Reason.NO_ADDRESS)
    if kind is Kind.MARKETING and not profile.consents(Channel.EMAIL):
        return Skip(Reason.NO_CONSENT)
    address = mailbox(profile.email)
    return Skip(Reason.BAD_ADDRESS) if address is None else Send(address)


def mailbox(text: str) -> str | None:
    """The address to send to, with its domain as DNS has it; None when the text is no address."""
    try:
        # Only the syntax is judged here. The reserved domain .test may pass: its server is asked like any other.
        valid = validate_email(text, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        return None
    return valid.ascii_email or f"{valid.local_part}@{valid.ascii_domain}"


def next_attempt(attempts: int, now: datetime, jitter: float) -> datetime:
    """When to try again after that many attempts: each pause twice the last, spread by `jitter` (0 to 1).

    Between half of the pause and all of it, so that mails put off together do not come back together.
    """
    pause = min(FIRST_RETRY * 2 ** min(attempts - 1, 16), LONGEST_RETRY)
    return now + pause * (0.5 + jitter / 2)
