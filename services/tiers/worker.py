"""Which events go to the handler."""

from services.tiers.handlers.events import handle
from services.tiers.settings import Settings
from shared.contracts import topics
from shared.messaging.worker import Subscription, WorkerSpec


def spec(settings: Settings) -> WorkerSpec:
    """The worker: purchases and their refunds; erasures, for the records and answers that are kept."""
    return WorkerSpec(
        service=settings.service,
        subscriptions=(
            Subscription(topics.PURCHASES, frozenset({"shop.purchase.completed.v1", "shop.purchase.refunded.v1"})),
            Subscription(topics.CUSTOMERS, frozenset({"shop.customer.erased.v1"})),
        ),
        handle=handle,
    )
