"""Which events the points service handles, and its scheduled jobs."""

from datetime import timedelta

from services.points.handlers import day, events, resettling
from services.points.settings import Settings
from services.points.store import auditing, erasing, rejudging
from shared.contracts import topics
from shared.messaging.worker import DueWork, Job, Subscription, WorkerSpec


def spec(_settings: Settings) -> WorkerSpec:
    """The worker of the points service."""
    return WorkerSpec(
        service="points",
        subscriptions=(
            Subscription(
                topics.PURCHASES,
                frozenset({"shop.purchase.completed.v1", "shop.purchase.refunded.v1", "shop.purchase.delivered.v1"}),
            ),
            Subscription(topics.REVIEWS, frozenset({"shop.review.published.v1", "shop.review.withdrawn.v1"})),
            Subscription(topics.ACTIVITIES, frozenset({"shop.activity.performed.v1", "shop.survey.answered.v1"})),
            Subscription(
                topics.CUSTOMERS,
                frozenset({"shop.customer.registered.v1", "shop.customer.updated.v1", "shop.customer.erased.v1"}),
            ),
            Subscription(
                topics.TIERS,
                frozenset(
                    {
                        "loyalty.tier.promoted.v1",
                        "loyalty.tier.demoted.v1",
                        "loyalty.tier.retained.v1",
                        "loyalty.tier.corrected.v1",
                    },
                ),
            ),
            Subscription(
                topics.LOYALTY_REFERRALS, frozenset({"loyalty.referral.approved.v1", "loyalty.referral.voided.v1"})
            ),
        ),
        handle=events.handle,
        erase=erasing.erase,
        due_work=(DueWork("customers to settle by new timelines", rejudging.count),),
        decodes_apart=True,
        jobs=(
            Job("measure the ledger", timedelta(minutes=1), auditing.measure_imbalance),
            Job("sweep up what is due", timedelta(minutes=1), day.sweep_up),
            Job("settle what new timelines changed", timedelta(seconds=1), resettling.resettle),
        ),
    )
