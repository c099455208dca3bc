"""The accounts that points move between, and the balances of a customer."""

from datetime import datetime
from typing import Final, NamedTuple

AVAILABLE: Final = "available"
PENDING: Final = "pending"
HELD: Final = "held"
DEBT: Final = "debt"
ISSUED: Final = "issued"
REVERSED: Final = "reversed"
REDEEMED: Final = "redeemed"
EXPIRED: Final = "expired"
ADJUSTED: Final = "adjusted"
PROGRAM: Final = (ISSUED, REVERSED, REDEEMED, EXPIRED, ADJUSTED)

ADJUSTMENT: Final = "adjustment"


class Account(NamedTuple):
    """A customer's balances in points, and the numbers of the last transaction and order; as its row.

    `due_at` is not later than the first instant at which something falls due; None: nothing falls due.
    """

    customer_id: str
    available: int
    pending: int
    held: int
    debt: int
    earned: int
    redeemed: int
    sequence: int
    orders: int
    recorded_at: datetime
    due_at: datetime | None = None
