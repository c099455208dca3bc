"""Changes of spend: what orders and their refunds change, and when."""

from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

from shared.contracts.orders import Order


@dataclass(frozen=True, slots=True)
class SpendChange:
    """Spend that rises (a purchase) or falls (a refund) at an instant, by an exact amount of money.

    `day` is the day of the order (UTC, as a proleptic Gregorian ordinal): a refund lowers the spend of the day of its
    purchase.
    """

    at: datetime
    day: int
    amount: Fraction


def day_of(order: Order) -> int:
    """The day of an order, as an ordinal."""
    return order.time.toordinal()


def bought(order: Order) -> SpendChange:
    """What an order as bought adds to spend."""
    return SpendChange(order.time, day_of(order), order.total)


def changes_of(order: Order) -> list[SpendChange]:
    """What an order and its refunds, which were read, change of spend, in the order in which they count."""
    taken = order.taken()
    refunds = order.refunds_in_order()
    return [
        bought(order),
        *(SpendChange(order.effective_at(refund), day_of(order), -taken[refund.refund_id]) for refund in refunds),
    ]


def kept_of(order: Order) -> Fraction:
    """The money that the refunds of an order, which were read, leave of it."""
    return order.total - sum(order.taken().values())
