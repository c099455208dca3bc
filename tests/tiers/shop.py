"""Events as a shop publishes them, decoded as a worker does."""

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from shared.contracts.envelope import Cause, Event, Record, decode, publication
from shared.contracts.registry import TYPES
from shared.contracts.shop import Line, PurchaseCompleted, PurchaseRefunded, RefundLine

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


def _event(type_: str, time: datetime, data: PurchaseCompleted | PurchaseRefunded, source: str) -> Event:
    made = publication(type_, time, data, Cause("correlation", "causation"), source)
    headers = ((b"content-type", b"application/cloudevents+json"),)
    record = Record(made.topic, 0, next(_offsets), made.key, made.value, headers, time)
    event = decode(record, frozenset(TYPES))
    assert event is not None
    return event
