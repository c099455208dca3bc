"""Events as a shop publishes them, hours from one instant."""

import itertools
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.contracts.envelope import Event, Record, decode
from shared.contracts.registry import TYPES
from shared.contracts.values import format_instant

START = datetime(2026, 3, 1, 12, tzinfo=UTC)

_count = itertools.count(1)


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def event(type_: str, hours: float, data: dict[str, Any], source: str = "/shop", id_: str | None = None) -> Event:
    number = next(_count)
    envelope = {
        "specversion": "1.0",
        "id": id_ or f"event-{number}",
        "source": source,
        "type": type_,
        "time": format_instant(at(hours)),
        "data": data,
    }
    value = json.dumps(envelope).encode()
    record = Record(TYPES[type_].topic, 0, number, data["customer_id"].encode(), value, (), at(100_000))
    decoded = decode(record, frozenset(TYPES))
    assert decoded is not None
    return decoded


def bought(
    customer_id: str,
    order_id: str,
    hours: float,
    total: str = "25.00",
    *,
    lines: Sequence[tuple[str, str]] = (),
    currency: str = "USD",
    source: str = "/shop",
    sku: str = "sku",
) -> Event:
    data = {"customer_id": customer_id, "order_id": order_id, "currency": currency, "total": total}
    if lines:
        data["lines"] = [
            {"line_id": line_id, "sku": f"{sku}-{line_id}", "quantity": 1, "amount": amount}
            for line_id, amount in lines
        ]
    return event("shop.purchase.completed.v1", hours, data, source)


def refunded(
    customer_id: str,
    order_id: str,
    refund_id: str,
    hours: float,
    amount: str = "25.00",
    *,
    lines: Sequence[tuple[str, str]] = (),
    currency: str = "USD",
) -> Event:
    data = {
        "customer_id": customer_id,
        "order_id": order_id,
        "refund_id": refund_id,
        "currency": currency,
        "amount": amount,
    }
    if lines:
        data["lines"] = [{"line_id": line_id, "quantity": 1, "amount": amount} for line_id, amount in lines]
    return event("shop.purchase.refunded.v1", hours, data)


def signed_up(friend_id: str, code: str, hours: float = 0, id_: str | None = None) -> Event:
    return event("shop.referral.signed_up.v1", hours, {"customer_id": friend_id, "code": code}, id_=id_)
