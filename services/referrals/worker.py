"""The events that the worker handles."""

from datetime import timedelta

from services.referrals.handlers.day import sweep_up
from services.referrals.handlers.events import handle
from services.referrals.settings import Settings
from services.referrals.store import codes
from shared.contracts import topics
from shared.messaging.worker import Job, Subscription, WorkerSpec


def spec(settings: Settings) -> WorkerSpec:
    """The worker: purchases and their refunds, sign-ups, and erasures."""
    return WorkerSpec(
        service=settings.service,
        subscriptions=(
            Subscription(topics.PURCHASES, frozenset({"shop.purchase.completed.v1", "shop.purchase.refunded.v1"})),
            Subscription(topics.CUSTOMERS, frozenset({"shop.customer.erased.v1"})),
            Subscription(topics.REFERRALS, frozenset({"shop.referral.signed_up.v1"})),
        ),
        handle=handle,
        erase=codes.retire,
        jobs=(Job("apply what falls due", timedelta(minutes=1), sweep_up),),
    )
