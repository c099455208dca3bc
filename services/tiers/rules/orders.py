"""What an order and its refunds change of `spend` and `orders`, and when."""

from datetime import datetime
from fractions import Fraction

from services.tiers.rules.metrics import Change
from shared.contracts.orders import Order
from shared.contracts.values import UNITS, units


def bought(order: Order) -> list[Change]:
    """What an order as bought changes; a free order changes nothing."""
    total = units(order.purchase.total)
    if not total:
        return []
    return [
        Change(order.time, order.time, "spend", order.purchase.currency, total),
        Change(order.time, order.time, "orders", "", 1),
    ]


def taken(order: Order, at: datetime, money: Fraction) -> Change:
    """What a refund takes of an order's money, or (above 0) what it gives back of what another refund took."""
    exact = money * UNITS
    amount = exact.numerator if exact.denominator == 1 else exact
    return Change(at, order.time, "spend", order.purchase.currency, amount, is_taking=True)


def gone(order: Order, at: datetime, count: int = -1) -> Change:
    """At this instant, no money of an order is kept any more; with `count` 1, that is undone."""
    return Change(at, order.time, "orders", "", count, is_taking=True)


def takings_of(order: Order) -> list[Change]:
    """What the refunds of an order, which were read, take of it, in the order in which they count: the definition.

    The order counts no more in `orders` from the instant on at which nothing of its money is kept.
    """
    takings = order.taken()
    left = order.total
    changes: list[Change] = []
    for refund in order.refunds_in_order():
        amount = takings[refund.refund_id]
        if amount:
            left -= amount
            changes.append(taken(order, order.effective_at(refund), -amount))
            if not left:
                changes.append(gone(order, order.effective_at(refund)))
    return changes
