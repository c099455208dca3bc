"""The event types of the contract: topic, data model and meaning of each."""

from dataclasses import dataclass
from typing import Final

from shared.contracts import loyalty, shop, topics
from shared.contracts.shop import EventData


@dataclass(frozen=True, slots=True)
class EventType:
    """An event type. `is_published` is False while Wafa documents the type but does not publish it yet."""

    name: str
    topic: str
    model: type[EventData]
    meaning: str
    is_published: bool = True

    @property
    def description(self) -> str:
        """The meaning, with a note where the type is not published yet."""
        return self.meaning if self.is_published else f"Not yet published. {self.meaning}"


_TYPES: Final = (
    EventType(
        "shop.purchase.completed.v1",
        topics.PURCHASES,
        shop.PurchaseCompleted,
        "An order was paid. If it has lines, their amounts add up to `total` and their ids differ.",
    ),
    EventType(
        "shop.purchase.refunded.v1",
        topics.PURCHASES,
        shop.PurchaseRefunded,
        "Money was refunded for goods of an order, in part or in full. It may arrive before its purchase. If it has "
        "lines, their amounts add up to `amount`.",
    ),
    EventType(
        "shop.purchase.delivered.v1",
        topics.PURCHASES,
        shop.PurchaseDelivered,
        "The goods of an order were delivered.",
    ),
    EventType(
        "shop.order.status_changed.v1",
        topics.PURCHASES,
        shop.OrderStatusChanged,
        "The status of an order changed. It only triggers messages: a cancellation that gives money back is a refund.",
    ),
    EventType(
        "shop.review.published.v1",
        topics.REVIEWS,
        shop.ReviewPublished,
        "The shop published a customer's review of a product.",
    ),
    EventType(
        "shop.review.withdrawn.v1",
        topics.REVIEWS,
        shop.ReviewWithdrawn,
        "A review was taken down.",
    ),
    EventType(
        "shop.referral.signed_up.v1",
        topics.REFERRALS,
        shop.ReferralSignedUp,
        "A friend signed up with an advocate's code.",
    ),
    EventType(
        "shop.customer.registered.v1",
        topics.CUSTOMERS,
        shop.CustomerRegistered,
        "A customer created an account.",
    ),
    EventType(
        "shop.customer.updated.v1",
        topics.CUSTOMERS,
        shop.CustomerUpdated,
        "A customer's profile changed. An absent field is unchanged, null clears it; for each field the newest `time` "
        "wins.",
    ),
    EventType(
        "shop.customer.erased.v1",
        topics.CUSTOMERS,
        shop.CustomerErased,
        "A customer's personal data must be erased.",
    ),
    EventType(
        "shop.activity.performed.v1",
        topics.ACTIVITIES,
        shop.ActivityPerformed,
        "A customer did something that can earn points: an app install, a share, a quiz, a visit, a contest entry, a "
        "check-in.",
    ),
    EventType(
        "shop.survey.answered.v1",
        topics.ACTIVITIES,
        shop.SurveyAnswered,
        "A customer answered a survey: nps from 0 to 10, csat from 1 to 5.",
    ),
    EventType("loyalty.points.earned.v1", topics.POINTS, loyalty.PointsMoved, "A customer earned points."),
    EventType("loyalty.points.activated.v1", topics.POINTS, loyalty.PointsMoved, "Pending points became available."),
    EventType(
        "loyalty.points.reversed.v1",
        topics.POINTS,
        loyalty.PointsMoved,
        "Points were taken back because what earned them was undone.",
    ),
    EventType("loyalty.points.redeemed.v1", topics.POINTS, loyalty.PointsMoved, "A customer spent points."),
    EventType(
        "loyalty.points.restored.v1",
        topics.POINTS,
        loyalty.PointsMoved,
        "Spent points were given back because the redemption was canceled.",
    ),
    EventType("loyalty.points.expired.v1", topics.POINTS, loyalty.PointsMoved, "Points expired unspent."),
    EventType(
        "loyalty.points.expiring.v1",
        topics.POINTS,
        loyalty.PointsMoved,
        "Points will expire at `expires_at`. No points moved yet.",
    ),
    EventType("loyalty.points.adjusted.v1", topics.POINTS, loyalty.PointsMoved, "Support corrected a balance by hand."),
    EventType("loyalty.tier.promoted.v1", topics.TIERS, loyalty.TierChanged, "A customer reached a higher tier."),
    EventType("loyalty.tier.demoted.v1", topics.TIERS, loyalty.TierChanged, "A customer fell to a lower tier."),
    EventType(
        "loyalty.tier.retained.v1",
        topics.TIERS,
        loyalty.TierChanged,
        "A customer keeps the tier for another period, or the tier has another multiplier or end by a new program.",
    ),
    EventType(
        "loyalty.tier.corrected.v1",
        topics.TIERS,
        loyalty.TierChanged,
        "A late event changed the past; the current tier is the same.",
    ),
    EventType(
        "loyalty.tier.at_risk.v1",
        topics.TIERS,
        loyalty.TierAtRisk,
        "A customer's tier ends soon and is not requalified yet. It changes no timeline.",
    ),
    EventType("loyalty.tier.benefit_used.v1", topics.TIERS, loyalty.BenefitUsed, "A customer used a benefit."),
    EventType(
        "loyalty.referral.signed_up.v1",
        topics.LOYALTY_REFERRALS,
        loyalty.ReferralChanged,
        "A friend signed up with an advocate's code.",
    ),
    EventType(
        "loyalty.referral.qualified.v1",
        topics.LOYALTY_REFERRALS,
        loyalty.ReferralChanged,
        "The friend's order met the terms of the referral program.",
    ),
    EventType(
        "loyalty.referral.flagged.v1",
        topics.LOYALTY_REFERRALS,
        loyalty.ReferralChanged,
        "A referral waits for the decision of a person because of its `signals`.",
    ),
    EventType(
        "loyalty.referral.approved.v1",
        topics.LOYALTY_REFERRALS,
        loyalty.ReferralChanged,
        "A referral was approved: advocate and friend get their points.",
    ),
    EventType(
        "loyalty.referral.rejected.v1",
        topics.LOYALTY_REFERRALS,
        loyalty.ReferralChanged,
        "A referral earns nothing, for its `reason`.",
    ),
    EventType(
        "loyalty.referral.voided.v1",
        topics.LOYALTY_REFERRALS,
        loyalty.ReferralChanged,
        "An approved referral no longer qualifies; its points are taken back.",
    ),
    EventType(
        "loyalty.referral.expired.v1",
        topics.LOYALTY_REFERRALS,
        loyalty.ReferralChanged,
        "No order of the friend qualified a referral in its window; one that arrives late still does.",
    ),
    EventType("loyalty.message.sent.v1", topics.MESSAGES, loyalty.MessageChanged, "A message was sent."),
    EventType("loyalty.message.held.v1", topics.MESSAGES, loyalty.MessageChanged, "A message waits, for its `reason`."),
    EventType(
        "loyalty.message.skipped.v1",
        topics.MESSAGES,
        loyalty.MessageChanged,
        "A message will not be sent, for its `reason`.",
    ),
    EventType(
        "loyalty.message.failed.v1", topics.MESSAGES, loyalty.MessageChanged, "A message could not be delivered."
    ),
    EventType(
        "loyalty.message.delivered.v1",
        topics.MESSAGES,
        loyalty.MessageChanged,
        "A provider reported that a message was delivered.",
    ),
    EventType(
        "loyalty.message.bounced.v1",
        topics.MESSAGES,
        loyalty.MessageChanged,
        "A message came back since its address does not exist; nothing is sent there any more.",
    ),
    EventType(
        "loyalty.message.complained.v1",
        topics.MESSAGES,
        loyalty.MessageChanged,
        "The recipient reported a message as spam; nothing is sent to that address any more.",
    ),
    EventType(
        "loyalty.message.opened.v1",
        topics.MESSAGES,
        loyalty.MessageChanged,
        "A message was opened: once by a person, and before that perhaps once by a machine.",
    ),
    EventType(
        "loyalty.message.clicked.v1",
        topics.MESSAGES,
        loyalty.MessageChanged,
        "A link in a message was followed: once by a person, and before that perhaps once by a machine.",
    ),
    EventType(
        "loyalty.message.unsubscribed.v1",
        topics.MESSAGES,
        loyalty.MessageChanged,
        "A customer unsubscribed through a message.",
    ),
)

TYPES: Final[dict[str, EventType]] = {event.name: event for event in _TYPES}
"""Every event type by its name."""
