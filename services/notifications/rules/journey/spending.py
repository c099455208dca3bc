"""How many points left a customer's balance, so that a journey can tell what is left of points that expire."""

from collections.abc import Mapping
from typing import Final

from shared.contracts.loyalty import PointsMoved

_SIGNS: Final[Mapping[str, int]] = {
    "loyalty.points.redeemed.v1": 1,
    "loyalty.points.held.v1": 1,
    "loyalty.points.released.v1": -1,
    "loyalty.points.restored.v1": -1,
    "loyalty.points.reversed.v1": 1,
    "loyalty.points.expired.v1": 1,
}


SPENDING: Final = frozenset(_SIGNS)
"""The event types that move points out of the balance, or back."""


def spent(type_: str, data: object) -> int:
    """The points that an event took out of the balance; below 0 if they came back."""
    sign = _SIGNS.get(type_, 0)
    return sign * data.points if sign and isinstance(data, PointsMoved) else 0
