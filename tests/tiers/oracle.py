"""Tiers by the wording of the program, computed in the slow and obvious way."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from fractions import Fraction

from shared.contracts.envelope import Event
from shared.contracts.kept import keep
from shared.contracts.refunds import Purchase, Refund
from shared.contracts.shop import PurchaseCompleted, PurchaseRefunded

NOTHING = Fraction(0)
RANKED = ((1, "silver", Fraction("500.00")), (2, "gold", Fraction("1500.00")))


def spend_at(events: Sequence[Event], moment: datetime) -> Fraction:
    """The spend of a customer's events at an instant, in the window that ends with its day."""
    end = moment.date()
    total = Fraction(0)
    for event in events:
        data = event.data
        if not isinstance(data, PurchaseCompleted) or data.currency != "USD" or event.time > moment:
            continue
        if end - timedelta(days=364) <= event.time.date() <= end:
            refunds = [
                Refund.of(other.data, other.time)
                for other in events
                if isinstance(other.data, PurchaseRefunded)
                and other.data.order_id == data.order_id
                and other.time <= moment
            ]
            total += keep(Purchase.of(data), refunds).total
    return total


def timeline_of(events: Sequence[Event]) -> list[tuple[datetime, str]]:
    """The changes of a customer's tier: at each instant of a purchase, the highest tier reached so far."""
    ranks = {"member": 0, "silver": 1, "gold": 2}
    timeline: list[tuple[datetime, str]] = []
    current = "member"
    for moment in sorted({event.time for event in events if isinstance(event.data, PurchaseCompleted)}):
        spend = spend_at(events, moment)
        reached = next((tier for _, tier, need in reversed(RANKED) if spend >= need), "member")
        if ranks[reached] > ranks[current]:
            timeline.append((moment, reached))
            current = reached
    return timeline
