"""The events that the worker handles."""

from datetime import timedelta
from functools import partial
from typing import Final

import structlog

from services.referrals.handlers import evidence
from services.referrals.handlers.day import sweep_up
from services.referrals.handlers.events import erase, handle
from services.referrals.handlers.replaying import run_replays
from services.referrals.settings import Settings
from services.referrals.store import replays
from shared.contracts import topics
from shared.messaging.worker import DueWork, Job, Subscription, WorkerSpec

_log = structlog.stdlib.get_logger(__name__)

_OF_CUSTOMERS: Final = ("shop.customer.registered.v1", "shop.customer.updated.v1", "shop.customer.erased.v1")


def spec(settings: Settings) -> WorkerSpec:
    """The worker: purchases and their refunds, sign-ups, what customers tell, and erasures."""
    key = settings.key()
    if key is None:
        _log.warning("evidence_key_missing", setting="WAFA_REFERRALS_EVIDENCE_KEY")
    return WorkerSpec(
        service=settings.service,
        subscriptions=(
            Subscription(topics.PURCHASES, frozenset({"shop.purchase.completed.v1", "shop.purchase.refunded.v1"})),
            Subscription(topics.CUSTOMERS, frozenset(_OF_CUSTOMERS)),
            Subscription(topics.REFERRALS, frozenset({"shop.referral.signed_up.v1"})),
        ),
        handle=partial(handle, key=key),
        erase=erase,
        due_work=(DueWork("replays to run", replays.count),),
        jobs=(
            Job("apply what falls due", timedelta(minutes=1), partial(sweep_up, key=key)),
            Job("forget evidence", timedelta(hours=1), evidence.forget),
            Job("replay referral programs", timedelta(seconds=1), partial(run_replays, key=key)),
            Job("forget replays", timedelta(hours=1), replays.forget),
        ),
    )
