"""The event types that journeys can name."""

from typing import Final

from shared.contracts.registry import TYPES

PURCHASE: Final = "shop.purchase.completed.v1"
EXPIRING: Final = "loyalty.points.expiring.v1"
AT_RISK: Final = "loyalty.tier.at_risk.v1"

_OF_MESSAGES: Final = "loyalty.message."
_BY_PEOPLE: Final = frozenset(f"{_OF_MESSAGES}{verb}.v1" for verb in ("opened", "clicked", "unsubscribed"))
"""Of the events of messages, those that a person causes: a journey that sends when something was sent never ends."""

NAMEABLE: Final = frozenset(
    name
    for name in TYPES
    if name != "shop.customer.erased.v1" and (not name.startswith(_OF_MESSAGES) or name in _BY_PEOPLE)
)
"""The event types that start runs, and that runs wait for."""

HEARD: Final = frozenset(name for name in NAMEABLE if not name.startswith(_OF_MESSAGES))
"""Those that a worker reads; what people do with messages is known here before it is published."""
