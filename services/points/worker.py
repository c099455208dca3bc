"""Which events the points service handles, and its scheduled jobs."""

from datetime import timedelta

from services.points.handlers import day, events, resettling, unlisted
from services.points.rules.program import earning
from services.points.settings import Settings
from services.points.store import auditing, erasing, rejudging
from shared.messaging.worker import DueWork, Job, Subscription, WorkerSpec


def spec(_settings: Settings) -> WorkerSpec:
    """The worker of the points service."""
    return WorkerSpec(
        service="points",
        subscriptions=tuple(Subscription(topic, types) for topic, types in earning.topics().items()),
        handle=events.handle,
        erase=erasing.erase,
        due_work=(DueWork("customers to settle by new timelines", rejudging.count),),
        decodes_apart=True,
        jobs=(
            Job("measure the ledger", timedelta(minutes=1), auditing.measure_imbalance),
            Job("count customers of unlisted tiers", timedelta(minutes=1), unlisted.measure),
            Job("sweep up what is due", timedelta(minutes=1), day.sweep_up),
            Job("settle what new timelines changed", timedelta(seconds=1), resettling.resettle),
        ),
    )
