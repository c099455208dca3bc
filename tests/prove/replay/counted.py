"""What counts towards a customer's tier, by the log: written apart from the tiers service, by the wording of events.md.

The order of a topic fixes which of several events with one natural key counts; nothing else depends on the order.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from shared.contracts import topics
from shared.contracts.envelope import Event
from shared.contracts.orders import Order, OrderKey, key_of
from shared.contracts.outcomes import Refusal
from shared.contracts.refunds import Refund
from shared.contracts.register import Register
from tests.prove.replay.dedupe import Seen
from tests.tiers.oracles.facts import Change, single

COUNTED: Final[Mapping[str, frozenset[str]]] = {
    topics.PURCHASES: frozenset({"shop.purchase.completed.v1", "shop.purchase.refunded.v1"}),
    topics.REVIEWS: frozenset({"shop.review.published.v1", "shop.review.withdrawn.v1"}),
    topics.ACTIVITIES: frozenset({"shop.activity.performed.v1"}),
    topics.LOYALTY_REFERRALS: frozenset({"loyalty.referral.approved.v1", "loyalty.referral.voided.v1"}),
    topics.POINTS: frozenset({"loyalty.points.earned.v1", "loyalty.points.reversed.v1"}),
}
"""The types that count, by topic."""

_IDS: Final = ("order_id", "review_id", "referral_id", "activity_id", "answer_id")


@dataclass(frozen=True, slots=True)
class Replayed:
    """What counts of a customer, and the refused events."""

    changes: Sequence[Change]
    refused: Sequence[Refusal]
    taken: Seen


def replay(by_topic: Mapping[str, Iterable[Event]]) -> Replayed:
    """Replay a customer's events of each topic, in the order of its log."""
    seen = Seen()
    own = {
        topic: [event for event in events if event.type in COUNTED.get(topic, ())] for topic, events in by_topic.items()
    }
    changes, refused = _orders(own.get(topics.PURCHASES, ()), seen)
    changes += _singles("reviews", "review_id", seen.new_ones(own.get(topics.REVIEWS, ())))
    changes += _singles("referrals", "referral_id", seen.new_ones(own.get(topics.LOYALTY_REFERRALS, ())))
    changes += _activities(seen.new_ones(own.get(topics.ACTIVITIES, ())))
    changes += _points(seen.new_ones(own.get(topics.POINTS, ())))
    return Replayed(changes, refused, seen)


def _orders(events: Iterable[Event], seen: Seen) -> tuple[list[Change], list[Refusal]]:
    register = Register({}, {}, {})
    refunds: defaultdict[OrderKey, list[Refund]] = defaultdict(list)
    for event in seen.new_ones(events):
        refused = len(register.refusals)
        if event.type == "shop.purchase.completed.v1":
            refunds[key_of(event)] += register.purchase(event) or ()
        elif (refund := register.refund(event)) is not None:
            refunds[key_of(event)].append(refund)
        seen.forget(refusal.event for refusal in register.refusals[refused:])
    changes = [change for key, order in register.orders.items() for change in _order(order, refunds.get(key, ()))]
    return changes, register.refusals


def _order(order: Order, refunds: Sequence[Refund]) -> Iterator[Change]:
    """The money and the order itself, until nothing of the money is kept."""
    currency, at = order.purchase.currency, order.time
    kept = order.total
    if not kept:
        return
    yield Change(at, at, "spend", currency, kept, False)
    yield Change(at, at, "orders", "", 1, False)
    with_refunds = Order(order.order_id, order.source, at, order.purchase, tuple(refunds))
    for moment, left in with_refunds.kept_over_time():
        if left != kept:
            yield Change(moment, at, "spend", currency, left - kept, True)
            if not left:
                yield Change(moment, at, "orders", "", -1, True)
        kept = left


def _singles(metric: str, name: str, events: Iterable[Event]) -> Iterator[Change]:
    """Reviews or referrals: each counts once, until it is taken back."""
    given: dict[str, datetime] = {}
    taken: dict[str, datetime] = {}
    early: dict[str, datetime] = {}
    for event in events:
        id_: str = getattr(event.data, name)
        if event.type.endswith((".published.v1", ".approved.v1")):
            if id_ not in given:
                given[id_] = event.time
                if id_ in early:
                    taken[id_] = early[id_]
        elif id_ in given:
            taken.setdefault(id_, event.time)
        else:
            early[id_] = min(early.get(id_, event.time), event.time)
    for id_, at in given.items():
        yield from single(metric, at, taken.get(id_))


def _activities(events: Iterable[Event]) -> Iterator[Change]:
    first: dict[str, Event] = {}
    for event in events:
        data: Any = event.data
        first.setdefault(data.activity_id, event)
    for event in first.values():
        data = event.data
        yield from single("activities", event.time, name=data.activity)


def _points(events: Iterable[Event]) -> Iterator[Change]:
    """Qualifying points: each transaction once; what is reversed takes what was earned last for the same reason."""
    transactions: dict[tuple[str, str], tuple[str, datetime, str, int]] = {}
    for event in events:
        data: Any = event.data
        is_earned = event.type == "loyalty.points.earned.v1"
        points = abs(data.qualifying_points)
        transaction = (_reason(data.reason), event.time, data.transaction_id, points if is_earned else -points)
        transactions.setdefault((event.type, data.transaction_id), transaction)
    by_reason: defaultdict[str, list[tuple[datetime, str, int]]] = defaultdict(list)
    for reason, *transaction in transactions.values():
        by_reason[reason].append(tuple(transaction))  # type: ignore[arg-type]
    for own in by_reason.values():
        yield from _of_reason(sorted(own))


def _of_reason(transactions: Iterable[tuple[datetime, str, int]]) -> Iterator[Change]:
    days: list[tuple[datetime, int]] = []
    owed = 0
    for at, _, points in transactions:
        if points > 0:
            yield Change(at, at, "points", "", points, False)
            days.append((at, points))
        else:
            owed -= points
        while owed and days:
            earned_at, left = days.pop()
            back = min(left, owed)
            owed -= back
            yield Change(at, earned_at, "points", "", -back, True)
            if back < left:
                days.append((earned_at, left - back))


def _reason(reason: Any) -> str:
    """The id that the reason names; a promotion, or a correction by hand, has none."""
    return next((f"{name} {id_}" for name in _IDS if (id_ := getattr(reason, name)) is not None), reason.kind)
