"""The data of the `loyalty.*` events, which Wafa publishes."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.contracts.shop import EventData
from shared.contracts.values import Decimals, Flag, Id, Instant, Quantity, Text

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
    """Why points moved: a kind, and the ids of what it refers to."""

    kind: PointsKind = Field(description="What moved the points.")
    order_id: Id | None = Field(default=None, description="Id of the order, if there is one.")
    refund_id: Id | None = Field(default=None, description="Id of the refund within its order.")
    review_id: Id | None = Field(default=None, description="Id of the review.")
    referral_id: Id | None = Field(default=None, description="Id of the referral.")
    reward_id: Id | None = Field(default=None, description="Id of the reward.")
    redemption_id: Id | None = Field(default=None, description="Id of the redemption.")
    hold_id: Id | None = Field(default=None, description="Id of the hold.")
    activity_id: Id | None = Field(default=None, description="Id of the activity.")
    answer_id: Id | None = Field(default=None, description="Id of the answer to a survey.")
    note: Text | None = Field(default=None, description="Reason that support gave for an adjustment.")


class Balance(_Part):
    """A customer's points after a transaction; none is below 0."""

    available: int = Field(strict=True, ge=0, description="Points that can be spent now.")
    pending: int = Field(strict=True, ge=0, description="Points that are earned and not available yet.")
    held: int = Field(strict=True, ge=0, description="Points reserved by holds.")
    debt: int = Field(
        strict=True, ge=0, description="Points taken back after they were spent; points that come in repay it first."
    )


class PointsMoved(EventData):
    """`loyalty.points.*.v1`: a transaction of the ledger.

    `pending_points`, `activating_points`, `expiring_points` and `repaid_points` are parts of `points`. Events of
    releases before these fields have none of them.
    """

    transaction_id: Id = Field(description="Id of the ledger transaction.")
    points: SomePoints = Field(description="Number of points, above 0; the event type gives the direction.")
    reason: PointsReason = Field(description="Why points moved, with the ids of what it refers to.")
    qualifying_points: Points = Field(
        description="The part of `points` that counts toward tiers, without tier extras and promotion awards; of "
        "points that are taken back, the part that counts no longer. 0 or more; the event type gives the direction."
    )
    pending_points: SomePoints | None = Field(
        default=None,
        description="The part of `points` that is not available yet: until a date, or until the order is delivered.",
    )
    activates_at: Instant | None = Field(default=None, description="When pending points become available.")
    activating_points: SomePoints | None = Field(
        default=None, description="The part of `points` that becomes available at `activates_at`."
    )
    expires_at: Instant | None = Field(default=None, description="When points expire.")
    expiring_points: SomePoints | None = Field(
        default=None, description="The part of `points` that expires at `expires_at`."
    )
    repaid_points: SomePoints | None = Field(
        default=None, description="The part of `points` that repaid debt instead of becoming available."
    )
    rules_version: Annotated[int, Field(strict=True, ge=1)] | None = Field(
        default=None, description="Version of the earning rules that applied."
    )
    balance: Balance = Field(description="The customer's points after the transaction.")


class TimelineEntry(_Part):
    """The customer's tier and multiplier from `effective_at` on."""

    effective_at: Instant = Field(description="Instant from which the entry applies.")
    tier: Id = Field(description="Id of the tier.")
    points_multiplier: Decimals = Field(description="Factor on base points in this tier.")


class Progress(_Part):
    """Progress toward the `next` tier, in the unit of `metric`."""

    metric: Id = Field(description="What is measured, such as `spend`.")
    value: Text = Field(description="The customer's value now, in the metric's unit.")
    needed: Text = Field(description="The value at which `next` is reached.")
    next: Id = Field(description="Id of the next tier.")


class _TierEvent(EventData):
    """What the events about a customer's tier have in common."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, serialize_by_alias=True)

    program_version: int = Field(strict=True, ge=1, description="Version of the tier program that applied.")
    # `from` is a keyword of Python; the contract's name is the alias.
    from_: Id | None = Field(
        default=None, validation_alias="from", serialization_alias="from", description="Id of the tier before."
    )
    to: Id = Field(description="Id of the tier from `effective_at` on, or of the current tier if the past changed.")
    reason: Text = Field(description="Reason code, such as `spend`.")
    effective_at: Instant = Field(description="Instant from which the change applies.")
    valid_until: Instant | None = Field(default=None, description="When the tier ends unless it is requalified.")
    points_multiplier: Decimals = Field(description="Factor on base points in this tier.")


class TierChanged(_TierEvent):
    """`loyalty.tier.*.v1`: a customer's tier, now and from `effective_at` on."""

    timeline: Annotated[tuple[TimelineEntry, ...], Field(min_length=1, fail_fast=True)] = Field(
        description="The tiers from `effective_at` on, in order; they replace what was published before from there on."
    )
    progress: Progress | None = Field(default=None, description="Progress toward another tier.")


class Need(_Part):
    """What is missing of a condition that keeps the tier."""

    metric: Id = Field(
        description="What is measured: `spend`, `orders`, `points`, `reviews`, `referrals` or `activities`."
    )
    activity: Id | None = Field(default=None, description="The activity that is counted; without it, any counts.")
    missing: Quantity = Field(
        description="What is missing: a decimal string in the program's currency for `spend`, else an integer."
    )


class TierAtRisk(_TierEvent):
    """`loyalty.tier.at_risk.v1`: a customer's tier ends soon and is not kept yet. It changes no timeline."""

    from_: Id | None = Field(
        default=None, validation_alias="from", serialization_alias="from", description="Id of the tier at risk."
    )
    to: Id = Field(description="Id of the tier to which the customer would fall.")
    effective_at: Instant = Field(description="When the customer would fall, after the time of grace.")
    points_multiplier: Decimals = Field(description="Factor on base points in the tier at risk.")
    timeline: Annotated[tuple[TimelineEntry, ...], Field(fail_fast=True)] = Field(
        description="Empty: readers of timelines skip this event."
    )
    needs: Annotated[tuple[Need, ...], Field(fail_fast=True)] | None = Field(
        default=None, description="What is missing to keep the tier, by the nearest way."
    )
    progress: Progress | None = Field(default=None, description="Progress toward another tier.")


class BenefitUsed(EventData):
    """`loyalty.tier.benefit_used.v1`: a customer used a benefit of the tier."""

    benefit_id: Id = Field(description="Id of the benefit.")
    kind: Id = Field(
        description="Kind of the benefit: `free_shipping`, `early_access`, `event_invitation`, `gift`, `discount`, "
        "`priority_support` or `other`."
    )
    reference: Text = Field(description="Reference that the shop gave; it names a use within customer and benefit.")
    tier: Id = Field(description="Id of the customer's tier at that time.")
    left: Annotated[int, Field(strict=True, ge=0)] | None = Field(
        default=None, description="Number of uses that are left; without it, any number."
    )


class ReferralChanged(EventData):
    """`loyalty.referral.*.v1`: a referral of the advocate (`customer_id`) changed its state."""

    customer_id: Id = Field(description="Id of the advocate; also the key of the record.")
    referral_id: Id = Field(description="Id of the referral.")
    friend_id: Id = Field(description="Id of the friend, who is a customer too.")
    advocate_points: Annotated[int, Field(strict=True, ge=0)] | None = Field(
        default=None, description="Points for the advocate, with those of a milestone."
    )
    friend_points: Annotated[int, Field(strict=True, ge=0)] | None = Field(
        default=None, description="Points for the friend."
    )
    order_id: Id | None = Field(default=None, description="Id of the order that qualified.")
    signals: Annotated[tuple[Text, ...], Field(fail_fast=True)] | None = Field(
        default=None, description="What made the referral suspicious."
    )
    reason: Text | None = Field(default=None, description="Reason code.")


class MessageChanged(EventData):
    """`loyalty.message.*.v1`: a message to a customer changed its state."""

    message_id: Id = Field(description="Id of the message.")
    trigger: Text = Field(description="What the message is about.")
    template: Text = Field(description="Id of the template.")
    template_version: int = Field(strict=True, ge=1, description="Version of the template.")
    locale: Text = Field(description="Language of the message (BCP 47).")
    channel: Text = Field(description="Channel: `email`, `in_app`, `sms` or `push`.")
    reason: Text | None = Field(default=None, description="Reason code.")
    journey: Text | None = Field(default=None, description="Id of the journey that sends the message.")
    run_id: Id | None = Field(default=None, description="Id of the run of the journey.")
    human: Flag | None = Field(
        default=None,
        description="Of `opened` and `clicked`: whether a person did it, and not a machine such as a scanner of links.",
    )
