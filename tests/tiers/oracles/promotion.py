"""Promotion, and what keeps a tier in grace (programs.md, 1 and 2)."""

from collections.abc import Sequence
from datetime import datetime

from tests.tiers.oracles.calendars import Span
from tests.tiers.oracles.customer import Customer
from tests.tiers.oracles.programs import Ways


def promote(customer: Customer, instant: datetime, known_before: datetime, reason: str | None) -> bool:
    """Reach the highest tier whose `enter` holds, if it is higher; no reason: the metric that made the difference."""
    program, state = customer.program, customer.state
    if state.locked:
        return False
    (window,) = customer.window(instant, known_before)
    for tier in reversed(program.tiers[program.place(state.tier) + 1 :]):
        if program.holds(tier.enter, customer.changes, window, known_before):
            reason = reason or difference(customer, tier.enter, window, instant)
            customer.reach(instant, known_before, tier.id, reason)
            return True
    return False


def retain_in_grace(customer: Customer, instant: datetime, known_before: datetime, reason: str | None = None) -> None:
    """In grace, the first instant at which `keep` holds by its own window keeps the tier, as if reached then."""
    state = customer.state
    if state.grace_until is None:
        return
    window = customer.window(instant, known_before)
    if customer.is_kept(state.tier, window, known_before):
        tier = customer.program.tier(state.tier)
        reason = reason or difference(customer, tier.keep + tier.enter, window[0], instant)
        customer.reach(instant, known_before, state.tier, reason)


def difference(customer: Customer, ways: Ways, window: Span, instant: datetime) -> str:
    """The metric of the first condition, of the first list that holds, that did not hold before the instant (T32)."""
    program, changes = customer.program, customer.changes
    way = next(way for way in ways if program.holds((way,), changes, window, window.before))
    new = (c for c in way if program.value(c, changes, window, instant) < c.at_least)
    return next(new, way[0]).metric


def taking_reason(metrics: Sequence[str]) -> str:
    """The reason of a loss by what was taken back (T16, T32); of several at one instant the first in this order."""
    if "spend" in metrics or "orders" in metrics:
        return "refund"
    if "reviews" in metrics:
        return "withdrawal"
    return next(metric for metric in ("referrals", "points", "activities") if metric in metrics)
