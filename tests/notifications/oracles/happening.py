"""What a history consists of: events as they arrive, sweeps, and publications of journeys."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Json = dict[str, Any]

PURCHASE = "shop.purchase.completed.v1"
REVIEW = "shop.review.published.v1"
REGISTERED = "shop.customer.registered.v1"
UPDATED = "shop.customer.updated.v1"
ERASED = "shop.customer.erased.v1"
EARNED = "loyalty.points.earned.v1"
EXPIRING = "loyalty.points.expiring.v1"
REDEEMED = "loyalty.points.redeemed.v1"
APPROVED = "loyalty.referral.approved.v1"
AT_RISK = "loyalty.tier.at_risk.v1"


@dataclass(frozen=True, slots=True)
class Arrival:
    """An event of a time `at` that is handled at `now`; `number` names it."""

    now: datetime
    number: int
    type: str
    at: datetime
    data: Json = field(hash=False)

    @property
    def customer_id(self) -> str:
        """Its customer."""
        return self.data["customer_id"]


@dataclass(frozen=True, slots=True)
class Sweep:
    """All jobs run, with an instant as now."""

    now: datetime


@dataclass(frozen=True, slots=True)
class Publication:
    """A version of a journey is published, and is in force at once."""

    now: datetime
    journey: str
    document: Json = field(hash=False)


Happening = Arrival | Sweep | Publication


@dataclass(frozen=True, slots=True)
class History:
    """What happens, in the order of `now`. `experiments` are declared before all of it."""

    happenings: tuple[Happening, ...]
    experiments: tuple[Json, ...] = ()
