"""The events that the worker handles."""

from services.tiers.handlers.events import handle
from services.tiers.settings import Settings
from shared.contracts import topics
from shared.messaging.worker import Subscription, WorkerSpec


def spec(settings: Settings) -> WorkerSpec:
    """The worker: purchases and refunds, and erasures, which delete stored records and answers."""
    return WorkerSpec(
        service=settings.service,
        subscriptions=(
            Subscription(topics.PURCHASES, frozenset({"shop.purchase.completed.v1", "shop.purchase.refunded.v1"})),
            Subscription(topics.CUSTOMERS, frozenset({"shop.customer.erased.v1"})),
        ),
        handle=handle,
    )
