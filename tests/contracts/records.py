"""Records as a broker delivers them, in both modes of CloudEvents."""

import copy
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.contracts.envelope import Event, Record, decode
from shared.contracts.examples import EXAMPLES
from shared.contracts.reasons import Malformed
from shared.contracts.registry import TYPES
from tests.support.headers import in_bytes

ARRIVED = datetime(2027, 6, 1, 12, tzinfo=UTC)
"""The Kafka timestamp of every record here: after the examples."""

EVERY_TYPE = frozenset(TYPES)

STRUCTURED = ("content-type", b"application/cloudevents+json")
JSON = ("content-type", b"application/json")

PURCHASE = "shop.purchase.completed.v1"
REFUND = "shop.purchase.refunded.v1"
ACTIVITY = "shop.activity.performed.v1"


def envelope(type_: str = PURCHASE, /, **changes: Any) -> dict[str, Any]:
    """The example of a type as a CloudEvent; a change to `...` removes the attribute."""
    return changed(EXAMPLES[type_].envelope(), changes)


def data(type_: str = PURCHASE, /, **changes: Any) -> dict[str, Any]:
    """The data of a type's example; a change to `...` removes the field."""
    return changed(EXAMPLES[type_].data, changes)


def about(type_: str = PURCHASE, /, **changes: Any) -> dict[str, Any]:
    """The example of a type as a CloudEvent, with changes to its data."""
    return envelope(type_, data=data(type_, **changes))


def changed(original: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = copy.deepcopy(original) | changes
    return {name: value for name, value in merged.items() if value is not ...}


def record(
    value: bytes | None, *headers: tuple[str | bytes, bytes | None], topic: str = "shop.purchases", key: Any = b"c-1042"
):
    """A record with this value."""
    return Record(topic, 3, 41, key, value, in_bytes(headers), ARRIVED)


def structured(event: dict[str, Any], **of_record: Any) -> Record:
    """A CloudEvent in structured mode, on the topic of its type, under the key of its customer."""
    return record(json.dumps(event).encode(), STRUCTURED, **{**_placed(event), **of_record})


def binary(event: dict[str, Any], *headers: tuple[str | bytes, bytes | None], **of_record: Any) -> Record:
    """A CloudEvent in binary mode; `headers` come after its own."""
    attributes = [(f"ce_{name}", str(value).encode()) for name, value in event.items() if name != "data"]
    value = json.dumps(event["data"], ensure_ascii=False).encode()
    return record(value, *attributes, *headers, **{**_placed(event), **of_record})


def _placed(event: dict[str, Any]) -> dict[str, Any]:
    event_type = TYPES.get(str(event.get("type")))
    fields = event.get("data")
    customer = fields.get("customer_id") if isinstance(fields, dict) else None
    key = str(customer or "c-1042").encode("utf-8", "surrogatepass")
    return {"topic": event_type.topic if event_type else "shop.purchases", "key": key}


def read(incoming: Record) -> Event:
    """The event in a record of a known type."""
    event = decode(incoming, EVERY_TYPE)
    assert event is not None
    return event


def refusal(incoming: Record) -> Malformed:
    """The error of reading a malformed record."""
    with pytest.raises(Malformed) as caught:
        decode(incoming, EVERY_TYPE)
    return caught.value
