"""Events as the shop and the other services publish them, decoded as a worker does."""

import itertools
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from msgspec import structs

from shared.contracts.envelope import STRUCTURED, Event, Record, decode
from shared.contracts.loyalty import ReferralChanged, TierChanged, TimelineEntry
from shared.contracts.registry import TYPES
from shared.contracts.shop import (
    EventData,
    Line,
    PurchaseCompleted,
    PurchaseRefunded,
    RefundLine,
    ReviewPublished,
    ReviewWithdrawn,
)
from shared.contracts.values import format_instant

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SHOP = "/shop/web"

_offsets = itertools.count()


def hour(hours: float) -> datetime:
    """So many hours after the tests' first noon."""
    return NOON + timedelta(hours=hours)


def purchase(
    order_id: str,
    total: str,
    time: datetime = NOON,
    *,
    customer_id: str = "ann",
    currency: str = "USD",
    source: str = SHOP,
    lines: Sequence[tuple[str, str]] = (),
) -> Event:
    """A purchase; `lines` are pairs of line id and amount."""
    data = PurchaseCompleted(
        customer_id=customer_id,
        order_id=order_id,
        currency=currency,
        total=total,
        lines=tuple(Line(line_id, "sku", 1, amount) for line_id, amount in lines),
    )
    return event("shop.purchase.completed.v1", time, data, source)


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
    return event("shop.purchase.refunded.v1", time, data)


def review(
    review_id: str, sku: str, time: datetime = NOON, *, customer_id: str = "ann", verified: bool | None = True
) -> Event:
    """A published review."""
    data = ReviewPublished(customer_id=customer_id, review_id=review_id, sku=sku, rating=4, verified_purchase=verified)
    return event("shop.review.published.v1", time, data)


def withdrawal(review_id: str, time: datetime = NOON, *, customer_id: str = "ann") -> Event:
    """A withdrawn review."""
    return event("shop.review.withdrawn.v1", time, ReviewWithdrawn(customer_id=customer_id, review_id=review_id))


def tier(entries: Sequence[tuple[datetime, str]], *, customer_id: str = "ann", verb: str = "promoted") -> Event:
    """An event with a timeline from its first entry on; entries are pairs of instant and multiplier.

    Each multiplier is a tier of its own that no rules list.
    """
    named = [(at, f"x{multiplier}", multiplier) for at, multiplier in entries]
    return timeline(*named, customer_id=customer_id, verb=verb)


def timeline(
    *entries: tuple[datetime, str, str], customer_id: str = "ann", verb: str = "promoted", reason: str = "spend"
) -> Event:
    """An event with a timeline from its first entry on; entries are instant, tier and multiplier."""
    told = tuple(TimelineEntry(effective_at=at, tier=name, points_multiplier=factor) for at, name, factor in entries)
    data = TierChanged(
        customer_id=customer_id,
        program_version=1,
        from_=None,
        to=told[-1].tier,
        reason=reason,
        effective_at=told[0].effective_at,
        points_multiplier=told[-1].points_multiplier,
        timeline=told,
    )
    return event(f"loyalty.tier.{verb}.v1", told[0].effective_at, data, "/wafa/tiers")


def referral(
    verb: str,
    referral_id: str,
    points: tuple[int | None, int | None] = (500, 200),
    time: datetime = NOON,
    *,
    sides: tuple[str, str] = ("ann", "bob"),
) -> Event:
    """A referral that was `approved` or `voided`; `points` and `sides` are of the advocate and the friend."""
    data = ReferralChanged(
        customer_id=sides[0],
        friend_id=sides[1],
        referral_id=referral_id,
        advocate_points=points[0],
        friend_points=points[1],
    )
    return event(f"loyalty.referral.{verb}.v1", time, data, "/wafa/referrals")


def event(type_: str, time: datetime, data: EventData, source: str = SHOP) -> Event:
    """The data as an event that was read from Kafka; its type need not be published yet."""
    attributes = {
        "specversion": "1.0",
        "id": str(uuid4()),
        "source": source,
        "type": type_,
        "time": format_instant(time),
        "correlationid": "correlation",
        "causationid": "causation",
        "data": data.model_dump(mode="json", by_alias=True, exclude_none=True),
    }
    headers = ((b"content-type", STRUCTURED),)
    value = json.dumps(attributes).encode()
    record = Record(TYPES[type_].topic, 0, next(_offsets), data.customer_id.encode(), value, headers, time)
    decoded = decode(record, frozenset(TYPES))
    assert decoded is not None
    return decoded


def again(first: Event) -> Event:
    """The same event from the same source, under a new id."""
    return event(first.type, first.time, first.data, first.source)


def redelivered(first: Event) -> Event:
    """The same event in another record, as if its producer sent it twice."""
    return structs.replace(first, record=structs.replace(first.record, offset=next(_offsets)))
