"""Which events the points service handles, and its scheduled jobs."""

from datetime import timedelta

from services.points import handlers
from services.points.settings import Settings
from services.points.store import auditing
from shared.contracts import topics
from shared.messaging.worker import Job, Subscription, WorkerSpec


def spec(_settings: Settings) -> WorkerSpec:
    """The worker of the points service."""
    return WorkerSpec(
        service="points",
        subscriptions=(
            Subscription(topics.PURCHASES, frozenset({"shop.purchase.completed.v1", "shop.purchase.refunded.v1"})),
            Subscription(topics.REVIEWS, frozenset({"shop.review.published.v1", "shop.review.withdrawn.v1"})),
            Subscription(
                topics.TIERS,
                frozenset(
                    {"loyalty.tier.promoted.v1", "loyalty.tier.demoted.v1", "loyalty.tier.corrected.v1"},
                ),
            ),
            Subscription(
                topics.LOYALTY_REFERRALS, frozenset({"loyalty.referral.approved.v1", "loyalty.referral.voided.v1"})
            ),
        ),
        handle=handlers.handle,
        jobs=(Job("measure the ledger", timedelta(minutes=1), auditing.measure_imbalance),),
    )
