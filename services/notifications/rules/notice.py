"""From events to notices: which events trigger a message, and the facts of each message."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, cast

from shared.contracts.envelope import Cause, Event
from shared.contracts.loyalty import PointsMoved, ReferralChanged, TierChanged
from shared.contracts.values import format_instant

Fact = str | int | None


class Trigger(StrEnum):
    """What triggers a message; its templates have the same name."""

    WELCOME = "welcome"
    POINTS_EARNED = "points_earned"
    POINTS_TAKEN_BACK = "points_taken_back"
    TIER_REACHED = "tier_reached"
    REFERRAL_APPROVED = "referral_approved"


@dataclass(frozen=True, slots=True)
class Notice:
    """A notice to a customer, sent once on each channel.

    `key` (the column `occasion`) identifies it among the customer's notices with the same trigger. `facts` are the
    values that its templates can use: JSON values, instants in RFC 3339.
    """

    customer_id: str
    trigger: Trigger
    key: str
    facts: Mapping[str, Fact]
    occurred_at: datetime
    cause: Cause


def notices(event: Event) -> Iterable[Notice]:
    """The notices that an event triggers; none for most events."""
    trigger = _TRIGGERS.get(event.type)
    return () if trigger is None else trigger(event)


def _notice(event: Event, trigger: Trigger, key: str, facts: Mapping[str, Fact]) -> Notice:
    return Notice(event.customer_id, trigger, key, facts, event.time, Cause.of(event))


def _welcome(event: Event) -> Iterable[Notice]:
    return (_notice(event, Trigger.WELCOME, "registration", {}),)


def _points_earned(event: Event) -> Iterable[Notice]:
    moved = cast("PointsMoved", event.data)
    if moved.reason.kind == "referral":
        return ()  # the message about the referral has these points
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
    facts |= {name: points for name, points in parts.items() if points is not None}
    trigger, key = Trigger.POINTS_EARNED, f"transaction/{moved.transaction_id}"
    return (_notice(event, trigger, key, complete(trigger, facts)),)


def complete(trigger: str, facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """The facts with defaults for those that are missing in older events and in facts stored by older releases.

    A date without its number of points applies to all points.
    """
    if trigger != Trigger.POINTS_EARNED:
        return facts
    points = facts.get("points")
    activating = facts.get("pending", points) if facts.get("activates_at") else 0
    expiring = points if facts.get("expires_at") else 0
    return {"pending": activating, "activating": activating, "expiring": expiring, "repaid": 0, "debt": 0, **facts}


def _points_taken_back(event: Event) -> Iterable[Notice]:
    moved = cast("PointsMoved", event.data)
    facts: Mapping[str, Fact] = {
        "points": moved.points,
        "reason": moved.reason.kind,
        "order_id": moved.reason.order_id,
        "available": moved.balance.available,
        "debt": moved.balance.debt,
    }
    return (_notice(event, Trigger.POINTS_TAKEN_BACK, f"transaction/{moved.transaction_id}", facts),)


def _tier_reached(event: Event) -> Iterable[Notice]:
    tier = cast("TierChanged", event.data)
    facts: Mapping[str, Fact] = {
        "tier": tier.to,
        "effective_at": _instant(tier.effective_at),
        "valid_until": _instant(tier.valid_until),
    }
    key = f"tier/{tier.to}/{format_instant(tier.effective_at)}"
    return (_notice(event, Trigger.TIER_REACHED, key, facts),)


def _referral_approved(event: Event) -> Iterable[Notice]:
    """A notice for each side that gets points, with these; it replaces the message about the earned points."""
    referral = cast("ReferralChanged", event.data)
    sides = (
        (referral.customer_id, "advocate", referral.advocate_points),
        (referral.friend_id, "friend", referral.friend_points),
    )
    for customer_id, role, points in sides:
        if not points:
            continue
        facts: Mapping[str, Fact] = {"role": role, "points": points}
        notice = _notice(event, Trigger.REFERRAL_APPROVED, f"referral/{referral.referral_id}", facts)
        yield replace(notice, customer_id=customer_id)


def _instant(moment: datetime | None) -> str | None:
    return None if moment is None else format_instant(moment)


# A new message: its trigger, the function that makes its notices, and a template for each channel and language.
_TRIGGERS: Final[Mapping[str, Callable[[Event], Iterable[Notice]]]] = {
    "shop.customer.registered.v1": _welcome,
    "loyalty.points.earned.v1": _points_earned,
    "loyalty.points.reversed.v1": _points_taken_back,
    "loyalty.tier.promoted.v1": _tier_reached,
    "loyalty.referral.approved.v1": _referral_approved,
}

TYPES: Final = frozenset(_TRIGGERS)
"""The event types that trigger notices."""
