"""What the worker reads."""

from services.tiers.settings import Settings
from services.tiers.worker import spec
from shared.contracts.registry import TYPES


def test_the_worker_reads_all_that_counts_and_erasures():
    made = spec(Settings())
    assert made.wanted == {
        *("shop.purchase.completed.v1", "shop.purchase.refunded.v1"),
        *("shop.review.published.v1", "shop.review.withdrawn.v1", "shop.activity.performed.v1"),
        *("loyalty.referral.approved.v1", "loyalty.referral.voided.v1"),
        *("loyalty.points.earned.v1", "loyalty.points.reversed.v1"),
        "shop.customer.erased.v1",
    }
    assert all(
        TYPES[name].topic == subscription.topic for subscription in made.subscriptions for name in subscription.types
    )
