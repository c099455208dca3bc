"""Which events go to the handler."""

from services.tiers.handlers import handle
from services.tiers.settings import Settings
from shared.contracts import topics
from shared.messaging.worker import Subscription, WorkerSpec


def spec(settings: Settings) -> WorkerSpec:
    """The worker: purchases and their refunds."""
    return WorkerSpec(
        service=settings.service,
        subscriptions=(
            Subscription(topics.PURCHASES, frozenset({"shop.purchase.completed.v1", "shop.purchase.refunded.v1"})),
        ),
        handle=handle,
    )
