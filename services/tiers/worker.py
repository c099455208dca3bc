"""The events that the worker handles."""

from datetime import timedelta
from functools import partial
from typing import Final

from services.tiers.handlers.applying import apply_versions
from services.tiers.handlers.day import sweep_up
from services.tiers.handlers.events import handle
from services.tiers.handlers.rejudging import rejudge
from services.tiers.handlers.simulating import simulate
from services.tiers.rules.admission import COUNTED
from services.tiers.settings import Settings
from services.tiers.store import customers, erasing, publications, simulations
from services.tiers.store.programs import Programs
from shared.contracts.registry import TYPES
from shared.messaging.worker import DueWork, Job, Subscription, WorkerSpec

_HANDLED: Final = COUNTED | {"shop.customer.erased.v1"}
"""What counts towards a tier, and erasures, which delete stored records and answers."""


def spec(settings: Settings) -> WorkerSpec:
    """The worker of the tiers service."""
    topics = dict.fromkeys(TYPES[name].topic for name in sorted(_HANDLED))
    return WorkerSpec(
        service=settings.service,
        subscriptions=tuple(
            Subscription(topic, frozenset(name for name in _HANDLED if TYPES[name].topic == topic)) for topic in topics
        ),
        handle=partial(handle, cached=Programs()),
        erase=erasing.erase,
        due_work=(
            DueWork("customers to judge again", customers.count_marked),
            DueWork("tier programs to apply", publications.count_due),
            DueWork("simulations to run", simulations.count),
        ),
        jobs=(
            Job("judge customers again", timedelta(seconds=1), rejudge),
            Job("apply tier programs", timedelta(seconds=1), apply_versions),
            Job("simulate tier programs", timedelta(seconds=1), simulate),
            Job("forget simulations", timedelta(hours=1), simulations.forget),
            Job("apply what falls due", timedelta(minutes=1), sweep_up),
        ),
    )
