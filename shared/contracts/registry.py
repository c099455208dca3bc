"""Which event types there are, on which topic each travels, and which model its data has."""

from dataclasses import dataclass
from typing import Final

from shared.contracts import loyalty, shop, topics
from shared.contracts.shop import EventData


@dataclass(frozen=True, slots=True)
class EventType:
    """An event type of the contract."""

    name: str
    topic: str
    model: type[EventData]


def _family(topic: str, prefix: str, model: type[EventData], *verbs: str) -> tuple[EventType, ...]:
    return tuple(EventType(f"{prefix}.{verb}.v1", topic, model) for verb in verbs)


TYPES: Final[dict[str, EventType]] = {
    known.name: known
    for known in (
        EventType("shop.purchase.completed.v1", topics.PURCHASES, shop.PurchaseCompleted),
        EventType("shop.purchase.refunded.v1", topics.PURCHASES, shop.PurchaseRefunded),
        EventType("shop.purchase.delivered.v1", topics.PURCHASES, shop.PurchaseDelivered),
        EventType("shop.review.published.v1", topics.REVIEWS, shop.ReviewPublished),
        EventType("shop.review.withdrawn.v1", topics.REVIEWS, shop.ReviewWithdrawn),
        EventType("shop.referral.signed_up.v1", topics.REFERRALS, shop.ReferralSignedUp),
        EventType("shop.customer.registered.v1", topics.CUSTOMERS, shop.CustomerRegistered),
        EventType("shop.customer.updated.v1", topics.CUSTOMERS, shop.CustomerUpdated),
        EventType("shop.customer.erased.v1", topics.CUSTOMERS, shop.CustomerErased),
        EventType("shop.activity.performed.v1", topics.ACTIVITIES, shop.ActivityPerformed),
        EventType("shop.survey.answered.v1", topics.ACTIVITIES, shop.SurveyAnswered),
        *_family(
            topics.POINTS,
            "loyalty.points",
            loyalty.PointsMoved,
            "earned",
            "activated",
            "reversed",
            "redeemed",
            "restored",
            "expired",
            "expiring",
            "adjusted",
        ),
        *_family(
            topics.TIERS,
            "loyalty.tier",
            loyalty.TierChanged,
            "promoted",
            "demoted",
            "retained",
            "at_risk",
            "corrected",
        ),
        *_family(
            topics.LOYALTY_REFERRALS,
            "loyalty.referral",
            loyalty.ReferralChanged,
            "signed_up",
            "qualified",
            "flagged",
            "approved",
            "rejected",
            "voided",
        ),
        *_family(
            topics.MESSAGES,
            "loyalty.message",
            loyalty.MessageChanged,
            "sent",
            "held",
            "skipped",
            "failed",
            "opened",
            "clicked",
            "unsubscribed",
        ),
    )
}
