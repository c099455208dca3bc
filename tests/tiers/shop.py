"""Events as a shop publishes them, decoded as a worker does."""

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

from shared.contracts.envelope import Cause, Event, Record, decode, publication
from shared.contracts.loyalty import Balance, PointsMoved, PointsReason, ReferralChanged
from shared.contracts.registry import TYPES
from shared.contracts.shop import (
    ActivityPerformed,
    EventData,
    Line,
    PurchaseCompleted,
    PurchaseRefunded,
    RefundLine,
    ReviewPublished,
    ReviewWithdrawn,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SHOP = "/shop/web"

_offsets = itertools.count()


def day(days: float) -> datetime:
    """Noon, so many days after the tests' first."""
    return NOON + timedelta(days=days)


def purchase(
    order_id: str,
    total: str,
    time: datetime = NOON,
    *,
    customer_id: str = "ann",
    currency: str = "USD",
    source: str = SHOP,
    lines: Sequence[tuple[str, str]] = (),
    sku: str = "sku",
) -> Event:
    """A purchase; `lines` are pairs of line id and amount, all of one good."""
    data = PurchaseCompleted(
        customer_id=customer_id,
        order_id=order_id,
        currency=currency,
        total=total,
        lines=tuple(Line(line_id, sku, 1, amount) for line_id, amount in lines),
    )
    return _event("shop.purchase.completed.v1", time, data, source)


def refund(
    order_id: str,
    refund_id: str,
    amount: str,
    time: datetime = NOON,
    *,
    customer_id: str = "ann",
    currency: str = "USD",
    lines: Sequence[tuple[str, str]] = (),
) -> Event:
    """A refund; `lines` are pairs of line id and amount."""
    data = PurchaseRefunded(
        customer_id=customer_id,
        order_id=order_id,
        refund_id=refund_id,
        currency=currency,
        amount=amount,
        lines=tuple(RefundLine(line_id, 1, part) for line_id, part in lines),
    )
    return _event("shop.purchase.refunded.v1", time, data, SHOP)


def review(review_id: str, time: datetime = NOON, *, customer_id: str = "ann", rating: int = 5) -> Event:
    """A published review."""
    data = ReviewPublished(customer_id=customer_id, review_id=review_id, sku="sku", rating=rating)
    return _event("shop.review.published.v1", time, data, SHOP)


def withdrawal(review_id: str, time: datetime = NOON, *, customer_id: str = "ann") -> Event:
    """The withdrawal of a review."""
    return _event("shop.review.withdrawn.v1", time, ReviewWithdrawn(customer_id=customer_id, review_id=review_id), SHOP)


def activity(
    activity_id: str,
    time: datetime = NOON,
    *,
    customer_id: str = "ann",
    name: str = "quiz",
    properties: dict[str, object] | None = None,
) -> Event:
    """An activity of a name."""
    data = ActivityPerformed(customer_id=customer_id, activity_id=activity_id, activity=name, properties=properties)
    return _event("shop.activity.performed.v1", time, data, SHOP)


def referral(
    referral_id: str,
    time: datetime = NOON,
    *,
    customer_id: str = "ann",
    verb: Literal["approved", "voided"] = "approved",
) -> Event:
    """A referral of the customer that was approved, or voided."""
    data = ReferralChanged(customer_id=customer_id, referral_id=referral_id, friend_id="zoe")
    return _event(f"loyalty.referral.{verb}.v1", time, data, "/wafa/referrals")


def points(
    transaction_id: str,
    qualifying: int,
    time: datetime = NOON,
    *,
    customer_id: str = "ann",
    verb: Literal["earned", "reversed"] = "earned",
    reason: dict[str, str] | None = None,
) -> Event:
    """A transaction of points; without a `reason` it is for order 1."""
    data = PointsMoved(
        customer_id=customer_id,
        transaction_id=transaction_id,
        points=abs(qualifying) or 1,
        reason=PointsReason.model_validate(reason or {"kind": "purchase", "order_id": "1"}),
        qualifying_points=qualifying,
        balance=Balance(available=0, pending=0, held=0, debt=0),
    )
    return _event(f"loyalty.points.{verb}.v1", time, data, "/wafa/points")


def _event(type_: str, time: datetime, data: EventData, source: str) -> Event:
    made = publication(type_, time, data, Cause("correlation", "causation"), source)
    topic = TYPES[type_].topic
    headers = ((b"content-type", b"application/cloudevents+json"),)
    record = Record(topic, 0, next(_offsets), made.key, made.value, headers, time)
    event = decode(record, frozenset(TYPES))
    assert event is not None
    return event
