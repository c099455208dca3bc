"""What events of points and tiers tell of a customer."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from shared.contracts.envelope import Event
from shared.contracts.loyalty import PointsMoved, TierChanged

TYPES: Final = frozenset(
    {
        *(f"loyalty.tier.{verb}.v1" for verb in ("promoted", "demoted", "retained", "corrected")),
        *(
            f"loyalty.points.{verb}.v1"
            for verb in ("earned", "activated", "reversed", "redeemed", "restored", "expired", "expiring", "adjusted")
        ),
    }
)
"""The event types that tell where a customer stands."""


class Told(NamedTuple):
    """What the events of a batch told last; null: nothing."""

    tier: str | None = None
    available: int | None = None
    pending: int | None = None


_NOTHING: Final = Told()


def told(events: Iterable[Event]) -> dict[str, Told]:
    """Where customers stand after events, in the order of the log."""
    found: dict[str, Told] = {}
    for event in events:
        data = event.data
        if isinstance(data, PointsMoved):
            own = found.get(data.customer_id, _NOTHING)
            balance = data.balance
            found[data.customer_id] = Told(own.tier, balance.available, balance.pending)
        elif isinstance(data, TierChanged):
            found[data.customer_id] = found.get(data.customer_id, _NOTHING)._replace(tier=data.to)
    return found
