"""What customers are told, and when: from events to notices."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from shared.contracts.envelope import Cause, Event
from shared.contracts.loyalty import PointsMoved, ReferralChanged, TierChanged
from shared.contracts.shop import CustomerRegistered
from shared.contracts.values import format_instant

EARNED: Final = "loyalty.points.earned.v1"
REVERSED: Final = "loyalty.points.reversed.v1"
PROMOTED: Final = "loyalty.tier.promoted.v1"
APPROVED: Final = "loyalty.referral.approved.v1"
REGISTERED: Final = "shop.customer.registered.v1"

Fact = str | int | None


class Trigger(StrEnum):
    """What a message is about; its templates have the same name."""

    WELCOME = "welcome"
    POINTS_EARNED = "points_earned"
    POINTS_TAKEN_BACK = "points_taken_back"
    TIER_REACHED = "tier_reached"
    REFERRAL_APPROVED = "referral_approved"


class Channel(StrEnum):
    """How a message reaches a customer."""

    IN_APP = "in_app"
    EMAIL = "email"


class Kind(StrEnum):
    """Whether a message needs the customer's consent."""

    TRANSACTIONAL = "transactional"
    """Follows from what the customer did or is owed."""
    MARKETING = "marketing"
    """Needs consent on its channel."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that a customer is told once on each channel.

    `occasion` names it among the customer's notices of the same trigger; `facts` is what its
    templates may speak of (JSON values, instants in RFC 3339).
    """

    customer_id: str
    trigger: Trigger
    occasion: str
    facts: Mapping[str, Fact]
    occurred_at: datetime
    cause: Cause
    kind: Kind = Kind.TRANSACTIONAL


def notices(event: Event) -> Iterator[Notice]:
    """Whom an event makes us tell what; most events tell nobody anything."""
    match event.type, event.data:
        case (type_, CustomerRegistered()) if type_ == REGISTERED:
            yield _notice(event, Trigger.WELCOME, "registration", {})
        case (type_, PointsMoved() as moved) if type_ == EARNED and moved.reason.kind != "referral":
            yield _notice(event, Trigger.POINTS_EARNED, f"transaction/{moved.transaction_id}", _earned(event, moved))
        case (type_, PointsMoved() as moved) if type_ == REVERSED:
            yield _notice(event, Trigger.POINTS_TAKEN_BACK, f"transaction/{moved.transaction_id}", _reversed(moved))
        case (type_, TierChanged() as tier) if type_ == PROMOTED:
            occasion = f"tier/{tier.to}/{format_instant(tier.effective_at)}"
            yield _notice(event, Trigger.TIER_REACHED, occasion, _promoted(tier))
        case (type_, ReferralChanged() as referral) if type_ == APPROVED:
            yield from _approved(event, referral)
        case _:
            return


def _notice(
    event: Event, trigger: Trigger, occasion: str, facts: Mapping[str, Fact], customer_id: str | None = None
) -> Notice:
    return Notice(customer_id or event.customer_id, trigger, occasion, facts, event.time, Cause.of(event))


def _earned(event: Event, moved: PointsMoved) -> Mapping[str, Fact]:
    has_date = moved.activates_at is not None and moved.activates_at > event.time
    facts = {
        "points": moved.points,
        "reason": moved.reason.kind,
        "order_id": moved.reason.order_id,
        "available": moved.balance.available,
        "activates_at": _instant(moved.activates_at) if has_date else None,
        "expires_at": _instant(moved.expires_at),
    }
    parts = {
        "pending": moved.pending_points,
        "activating": moved.activating_points if has_date else None,
        "expiring": moved.expiring_points,
        "repaid": moved.repaid_points,
        "debt": moved.balance.debt,
    }
    told = {name: points for name, points in parts.items() if points is not None}
    return complete(Trigger.POINTS_EARNED, facts | told)


def complete(trigger: Trigger, facts: Mapping[str, Fact]) -> Mapping[str, Fact]:
    """The facts of a notice, with those that its event, or the version that stored it, did not have yet.

    Where an event has a date and does not say how many points have it, all of them do.
    """
    if trigger is not Trigger.POINTS_EARNED:
        return facts
    points = facts.get("points")
    activating = facts.get("pending", points) if facts.get("activates_at") else 0
    expiring = points if facts.get("expires_at") else 0
    return {"pending": activating, "activating": activating, "expiring": expiring, "repaid": 0, "debt": 0, **facts}


def _reversed(moved: PointsMoved) -> Mapping[str, Fact]:
    return {
        "points": moved.points,
        "reason": moved.reason.kind,
        "order_id": moved.reason.order_id,
        "available": moved.balance.available,
        "debt": moved.balance.debt,
    }


def _promoted(tier: TierChanged) -> Mapping[str, Fact]:
    return {
        "tier": tier.to,
        "effective_at": _instant(tier.effective_at),
        "valid_until": _instant(tier.valid_until),
    }


def _approved(event: Event, referral: ReferralChanged) -> Iterator[Notice]:
    """One for each side, with its own points; it stands for the message of these points."""
    occasion = f"referral/{referral.referral_id}"
    sides = (
        (referral.customer_id, "advocate", referral.advocate_points),
        (referral.friend_id, "friend", referral.friend_points),
    )
    for customer_id, role, points in sides:
        facts: Mapping[str, Fact] = {"role": role, "points": points or 0}
        yield _notice(event, Trigger.REFERRAL_APPROVED, occasion, facts, customer_id)


def _instant(moment: datetime | None) -> str | None:
    return None if moment is None else format_instant(moment)
