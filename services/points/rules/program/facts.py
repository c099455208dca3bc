"""What rules look at: the facts of an event, and the money of an order."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple


class Facts(NamedTuple):
    """The facts of an event, except an order's money; a fact that the event lacks is None."""

    time: datetime
    local: datetime
    """The same instant in the program's time zone."""
    tier: str | None = None
    """The tier in force before the event; for a promotion, the new one."""
    channel: str | None = None
    store_id: str | None = None
    currency: str | None = None
    ordinal: int | None = None
    """The position of the order among the customer's completed orders, from 1."""
    sku: str | None = None
    rating: int | None = None
    verified: bool = False
    text_length: int | None = None
    photo_count: int | None = None
    activity: str | None = None
    survey: str | None = None
    score: int | None = None


class BasketLine(NamedTuple):
    """An order line that is not refunded in full."""

    sku: str
    category: str | None
    amount: int


class Basket(NamedTuple):
    """The money of an order in the program's currency: amounts are `amount / scale`, exactly."""

    total: int
    lines: Sequence[BasketLine]
    scale: int


EMPTY: Final = Basket(0, (), 1)
"""The basket of an event that is not an order."""
