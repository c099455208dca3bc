"""A purchase as plain values, to pass it between processes without unpacking its lines."""

from datetime import datetime
from typing import Any

import msgspec

from shared.contracts.envelope import MOST_AHEAD, Event, Headers, Record, extension, identity, is_structured
from shared.contracts.fields import PURCHASE as FIELDS
from shared.contracts.fields import assembled
from shared.contracts.lines import PackedLines
from shared.contracts.quick import PURCHASE, look, to_fields
from shared.contracts.reasons import Malformed
from shared.contracts.topics import PURCHASES

Sent = tuple[str, bytes | None, bytes | None, Headers]
"""The topic, key, value and headers of a record."""

Flat = tuple[Any, ...]
"""The event of a purchase as plain values."""


def flatten(topic: str, key: bytes | None, value: bytes | None, headers: Headers) -> Flat | None:
    """Decode a well-formed purchase in structured mode into values for `marshal`.

    None for everything else, including malformed purchases: `decode` reports what is wrong.
    """
    if value is None or topic != PURCHASES or not is_structured(headers):
        return None
    decoded = look(value)
    if decoded is None:
        return None
    envelope, rows = decoded
    attributes = msgspec.structs.asdict(envelope)
    customer = envelope.data.customer_id
    if key != customer.encode() or envelope.subject not in (None, customer):
        return None
    try:
        id_, source, time = identity(attributes)
    except Malformed:
        return None
    values = to_fields(decoded)
    values["lines"] = msgspec.json.encode(rows)
    return (
        id_,
        source,
        time.isoformat(),
        extension(attributes, "correlationid") or id_,
        extension(attributes, "causationid"),
        extension(attributes, "traceparent"),
        *values.values(),
    )


def restore(flat: Flat, record: Record) -> Event | None:
    """Restore the event, with `PackedLines`; None if its time is too far ahead of its record's."""
    id_, source, time, correlation_id, causation_id, traceparent = flat[:6]
    moment = datetime.fromisoformat(time)
    if moment - record.timestamp > MOST_AHEAD:
        return None
    values: dict[str, Any] = dict(zip(FIELDS, flat[6:]))  # noqa: B905 `flatten` made it; `strict` costs a third more
    lines = values["lines"]
    values["lines"] = PackedLines(lines) if lines != b"[]" else ()
    data = assembled(values)
    return Event(id_, source, PURCHASE, moment, flat[6], data, correlation_id, causation_id, traceparent, record)
