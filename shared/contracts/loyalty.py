"""What Wafa publishes: the data of every `loyalty.*` event."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.contracts.shop import EventData
from shared.contracts.values import Decimals, Id, Instant, Text

Points = Annotated[int, Field(strict=True)]
SomePoints = Annotated[int, Field(strict=True, gt=0)]
PointsKind = Literal[
    "purchase",
    "tier",
    "refund",
    "review",
    "review_withdrawn",
    "activity",
    "survey",
    "registration",
    "referral",
    "referral_voided",
    "redemption",
    "cancellation",
    "hold",
    "expiry",
    "birthday",
    "adjustment",
]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class PointsReason(_Part):
    """Why points moved: a kind, and the id of what it is about."""

    kind: PointsKind
    order_id: Id | None = None
    refund_id: Id | None = None
    review_id: Id | None = None
    referral_id: Id | None = None
    reward_id: Id | None = None
    redemption_id: Id | None = None
    hold_id: Id | None = None
    activity_id: Id | None = None
    answer_id: Id | None = None
    note: Text | None = None


class Balance(_Part):
    """A customer's points after a movement; none is below 0."""

    available: Annotated[int, Field(strict=True, ge=0)]
    pending: Annotated[int, Field(strict=True, ge=0)]
    held: Annotated[int, Field(strict=True, ge=0)]
    debt: Annotated[int, Field(strict=True, ge=0)]


class PointsMoved(EventData):
    """`loyalty.points.*.v1`: a transaction of the ledger; `points` is positive, the type tells the direction.

    `pending_points`, `activating_points`, `expiring_points` and `repaid_points` are parts of `points`. An event from
    before they were published has none of them.
    """

    transaction_id: Id
    points: SomePoints
    reason: PointsReason
    qualifying_points: Points
    pending_points: SomePoints | None = None
    activates_at: Instant | None = None
    activating_points: SomePoints | None = None
    expires_at: Instant | None = None
    expiring_points: SomePoints | None = None
    repaid_points: SomePoints | None = None
    rules_version: Annotated[int, Field(strict=True, ge=1)] | None = None
    balance: Balance


class TimelineEntry(_Part):
    """From `effective_at` on, the customer is in `tier` and earns at `points_multiplier`."""

    effective_at: Instant
    tier: Id
    points_multiplier: Decimals


class Progress(_Part):
    """How far the customer is on the way to the `next` tier, in the units of `metric`."""

    metric: Id
    value: Text
    needed: Text
    next: Id


class TierChanged(EventData):
    """`loyalty.tier.*.v1`: a customer's tier, now and from `effective_at` on."""

    program_version: Annotated[int, Field(strict=True, ge=1)]
    # `from` is a keyword of Python; the contract's name is the alias.
    from_: Id | None = Field(default=None, validation_alias="from", serialization_alias="from")
    to: Id
    reason: Text
    effective_at: Instant
    valid_until: Instant | None = None
    points_multiplier: Decimals
    timeline: Annotated[tuple[TimelineEntry, ...], Field(min_length=1, fail_fast=True)]
    progress: Progress | None = None

    model_config = ConfigDict(frozen=True, populate_by_name=True, serialize_by_alias=True)


class ReferralChanged(EventData):
    """`loyalty.referral.*.v1`: a referral of the advocate (`customer_id`) took a step."""

    referral_id: Id
    friend_id: Id
    advocate_points: Annotated[int, Field(strict=True, ge=0)] | None = None
    friend_points: Annotated[int, Field(strict=True, ge=0)] | None = None
    order_id: Id | None = None
    signals: Annotated[tuple[Text, ...], Field(fail_fast=True)] | None = None
    reason: Text | None = None


class MessageChanged(EventData):
    """`loyalty.message.*.v1`: what became of a message to a customer."""

    message_id: Id
    trigger: Text
    template: Text
    template_version: Annotated[int, Field(strict=True, ge=1)]
    locale: Text
    channel: Text
    reason: Text | None = None
