"""A purchase as plain values: to be handed from process to process without making its lines."""

from datetime import datetime
from typing import Any

import msgspec

from shared.contracts.envelope import MOST_AHEAD, Event, Headers, Record, extension, identity, is_structured
from shared.contracts.lines import PackedLines
from shared.contracts.quick import PURCHASE, look, made
from shared.contracts.reasons import Malformed
from shared.contracts.topics import PURCHASES

Sent = tuple[str, bytes | None, bytes | None, Headers]
"""The topic, key, value and headers of a record."""

Flat = tuple[Any, ...]
"""The event of a purchase as plain values."""


def flatten(topic: str, key: bytes | None, value: bytes | None, headers: Headers) -> Flat | None:
    """The event in a record that is a well-formed purchase in structured mode, as values that `marshal` takes.

    None for whatever else, malformed purchases included: `decode` says what is wrong with them.
    """
    if value is None or topic != PURCHASES or not is_structured(headers):
        return None
    found = look(value)
    if found is None:
        return None
    envelope, rows = found
    attributes = msgspec.structs.asdict(envelope)
    purchase = envelope.data
    customer = purchase.customer_id
    if key != customer.encode() or envelope.subject not in (None, customer):
        return None
    try:
        id_, source, time = identity(attributes)
    except Malformed:
        return None
    return (
        id_,
        source,
        time.isoformat(),
        extension(attributes, "correlationid") or id_,
        extension(attributes, "causationid"),
        extension(attributes, "traceparent"),
        customer,
        purchase.order_id,
        purchase.currency,
        purchase.total,
        msgspec.json.encode(rows),
        purchase.channel,
        purchase.store_id,
        purchase.coupon_codes or (),
    )


def restore(flat: Flat, record: Record) -> Event | None:
    """The event again, with `PackedLines`; None where its time is too far ahead of its record's."""
    id_, source, time, correlation_id, causation_id, traceparent = flat[:6]
    customer_id, order_id, currency, total, lines, channel, store_id, coupon_codes = flat[6:]
    moment = datetime.fromisoformat(time)
    if moment - record.timestamp > MOST_AHEAD:
        return None
    data = made(
        {
            "customer_id": customer_id,
            "order_id": order_id,
            "currency": currency,
            "total": total,
            "lines": PackedLines(lines) if lines != b"[]" else (),
            "channel": channel,
            "store_id": store_id,
            "coupon_codes": coupon_codes,
        }
    )
    return Event(id_, source, PURCHASE, moment, customer_id, data, correlation_id, causation_id, traceparent, record)
