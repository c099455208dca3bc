"""What the events of a customer change, computed from the whole set of them in the slow and obvious way."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date
from typing import Final
from zoneinfo import ZoneInfo

from services.tiers.rules.metrics import Amount, Answer, Change, Metric, Request
from services.tiers.rules.orders import bought, takings_of
from services.tiers.rules.program.calendar import Calendar
from services.tiers.rules.program.compiled import Period
from services.tiers.rules.qualifying import read
from services.tiers.rules.reversing import Transaction, changes_of
from shared.contracts.envelope import Event
from shared.contracts.loyalty import PointsMoved, ReferralChanged
from shared.contracts.orders import Order, key_of
from shared.contracts.refunds import Refund
from shared.contracts.shop import (
    ActivityPerformed,
    PurchaseCompleted,
    PurchaseRefunded,
    ReviewPublished,
    ReviewWithdrawn,
)

Sums = Counter[Change]
"""Sums of changes that differ in the amount alone; it is 0 in the keys."""


def sums(changes: Iterable[Change]) -> Sums:
    """The sums of changes, without those of nothing."""
    summed: Sums = Counter()
    for change in changes:
        summed[change._replace(amount=0)] += change.amount  # pyright: ignore[reportArgumentType]
    return Counter({change: amount for change, amount in summed.items() if amount})


def changes(events: Sequence[Event]) -> list[Change]:
    """The changes of a customer's events, each of which came at least once."""
    unique = list({_name(event): event for event in events}.values())
    return [*_of_orders(unique), *_of_things(unique), *_of_points(unique)]


def answer(known: Iterable[Change], request: Request) -> Answer:
    """The answer of a request, from a list of all changes."""
    asked = [
        change
        for change in known
        if (request.since is None or change.earned_at >= request.since)
        and (request.before is None or change.earned_at < request.before)
        and (request.known is None or change.at < request.known)
    ]
    if request.by_day_of is None:
        return _summed(asked)
    calendar = Calendar(ZoneInfo(request.by_day_of), Period("lifetime"))
    days: defaultdict[date, list[Change]] = defaultdict(list)
    for change in asked:
        days[calendar.day(change.earned_at)].append(change)
    return {day: _summed(own) for day, own in days.items()}


def _summed(changes: Iterable[Change]) -> dict[tuple[Metric, str], Amount]:
    summed: Counter[tuple[Metric, str]] = Counter()
    for change in changes:
        summed[change.metric, change.name] += change.amount  # pyright: ignore[reportArgumentType]
    return dict(summed)


_IDS: Final = ("order_id", "refund_id", "review_id", "activity_id", "referral_id", "transaction_id")


def _name(event: Event) -> tuple[str, ...]:
    data = event.data
    return (event.type, *(getattr(data, name, "") for name in _IDS))


def _of_orders(events: Sequence[Event]) -> list[Change]:
    made: list[Change] = []
    for event in events:
        if isinstance(event.data, PurchaseCompleted):
            refunds = [
                Refund.of(other.data, other.time)
                for other in events
                if isinstance(other.data, PurchaseRefunded) and key_of(other) == key_of(event)
            ]
            order = replace(Order.of(event), refunds=tuple(refunds))
            made += [*bought(order), *takings_of(order)]
    return made


def _of_things(events: Sequence[Event]) -> list[Change]:
    earned: dict[tuple[Metric, str], Event] = {}
    for event in events:
        if isinstance(event.data, ActivityPerformed):
            earned["activities", event.data.activity_id] = event
        elif isinstance(event.data, ReviewPublished):
            earned["reviews", event.data.review_id] = event
        elif event.type == "loyalty.referral.approved.v1":
            assert isinstance(event.data, ReferralChanged)
            earned["referrals", event.data.referral_id] = event
    made = [
        Change(event.time, event.time, metric, getattr(event.data, "activity", ""), 1)
        for (metric, _), event in earned.items()
    ]
    for event in events:
        if isinstance(event.data, ReviewWithdrawn):
            made += _taken("reviews", earned.get(("reviews", event.data.review_id)), event)
        elif event.type == "loyalty.referral.voided.v1":
            assert isinstance(event.data, ReferralChanged)
            made += _taken("referrals", earned.get(("referrals", event.data.referral_id)), event)
    return made


def _taken(metric: Metric, earned: Event | None, event: Event) -> list[Change]:
    if earned is None:
        return []
    return [Change(max(event.time, earned.time), earned.time, metric, "", -1, is_taking=True)]


def _of_points(events: Sequence[Event]) -> list[Change]:
    by_reason: defaultdict[str, list[Transaction]] = defaultdict(list)
    for event in events:
        if isinstance(event.data, PointsMoved):
            transaction, about = read(event)
            by_reason[about].append(transaction)
    made: list[Change] = []
    for transactions in by_reason.values():
        if any(transaction.points > 0 for transaction in transactions):
            made += changes_of(transaction for transaction in transactions if transaction.points)
    return made
