"""A purchase that is packed into plain values and restored is the same purchase."""

import json
import marshal
from datetime import timedelta
from typing import Any

import pytest
from msgspec import structs

from services.points.store.documents import order_from_json, order_to_json
from shared.contracts.envelope import Event, Record, decode_purchase
from shared.contracts.lines import PackedLines, pack_lines
from shared.contracts.packed import Flat, flatten, restore
from shared.contracts.reasons import Malformed
from shared.contracts.shop import Line, PurchaseCompleted
from shared.postgres.pool import _JSON_ENCODER
from tests.contracts.records import STRUCTURED, about, record

LINES = (Line("1", "tea", 2, "3.50", 'hot "drinks"'), Line("٢", "قهوة", "0.5", "6.50"))


def purchase(**changes: Any) -> tuple[Event, Record]:
    event = about(**changes)
    event["subject"] = event["data"]["customer_id"]
    incoming = record(json.dumps(event).encode(), STRUCTURED, key=event["data"]["customer_id"].encode())
    decoded = decode_purchase(incoming)
    assert decoded is not None
    return decoded, incoming


def flat(incoming: Record) -> Flat:
    flattened = flatten(incoming.topic, incoming.key, incoming.value, incoming.headers)
    assert flattened is not None
    return flattened


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"customer_id": "عميل", "channel": "web", "store_id": "s\u2028", "coupon_codes": ["A", "ب"]},
        {"lines": [], "total": "0.0001"},
        {"lines": None},
    ],
)
def test_a_purchase_survives_packing(changes: dict[str, Any]):
    event, incoming = purchase(**changes)
    restored = restore(marshal.loads(marshal.dumps(flat(incoming))), incoming)
    assert restored is not None
    assert restored == event
    assert event == restored, "equality is symmetric"
    assert restored.data.model_fields_set == event.data.model_fields_set


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00Z", "2026-06-01T10:00:00.000001+03:00", "2024-12-31T23:59:60Z"])
def test_the_time_survives_packing(time: str):
    event = about()
    event["time"] = time
    incoming = record(json.dumps(event).encode(), STRUCTURED, key=event["data"]["customer_id"].encode())
    decoded = decode_purchase(incoming)
    assert decoded is not None
    restored = restore(flat(incoming), incoming)
    assert restored is not None
    assert (restored.time, restored.time.tzinfo) == (decoded.time, decoded.time.tzinfo)


@pytest.mark.parametrize(
    "changes",
    [
        {"id": ""},
        {"id": "a\x00b"},
        {"source": "no reference"},
        {"time": "yesterday"},
        {"subject": "another"},
        {"specversion": "0.3"},
        {"type": "shop.review.published.v1"},
    ],
)
def test_an_invalid_purchase_is_left_to_the_models(changes: dict[str, Any]):
    incoming = record(
        json.dumps({**about(), **changes}).encode(), STRUCTURED, key=about()["data"]["customer_id"].encode()
    )
    assert flatten(incoming.topic, incoming.key, incoming.value, incoming.headers) is None


def test_a_purchase_under_a_foreign_key_or_without_its_content_type_is_left_to_the_models():
    _, incoming = purchase()
    assert flatten(incoming.topic, b"another", incoming.value, incoming.headers) is None
    assert flatten(incoming.topic, incoming.key, incoming.value, ()) is None
    assert flatten("shop.reviews", incoming.key, incoming.value, incoming.headers) is None
    assert flatten(incoming.topic, incoming.key, None, incoming.headers) is None


def test_a_purchase_of_the_future_is_left_to_the_models():
    _, incoming = purchase()
    before = structs.replace(incoming, timestamp=incoming.timestamp - timedelta(days=10_000))
    assert restore(flat(before), before) is None
    with pytest.raises(Malformed):
        decode_purchase(before)


def test_packed_lines_equal_the_lines():
    packed = PackedLines(pack_lines(LINES))
    assert packed
    assert packed == LINES
    assert tuple.__eq__(LINES, packed) is NotImplemented, "so that Python tries the other operand"
    assert packed == PackedLines(pack_lines(LINES))
    assert packed != LINES[:1]
    assert (len(packed), packed[1], packed[:1], list(packed)) == (2, LINES[1], LINES[:1], [*LINES])
    assert hash(packed) == hash(LINES)
    assert repr(packed) == repr(LINES)
    assert not PackedLines(pack_lines(()))


def test_packed_and_unpacked_orders_are_stored_the_same():
    plain = PurchaseCompleted(customer_id="c", order_id="o", currency="USD", total="10.00", lines=LINES)
    packed = plain.model_copy(update={"lines": PackedLines(pack_lines(LINES))})
    stored = _JSON_ENCODER.encode(order_to_json(packed))
    assert stored == _JSON_ENCODER.encode(order_to_json(plain))
    assert order_from_json("c", "o", json.loads(stored)) == plain


def test_packed_and_unpacked_orders_serialize_the_same():
    plain = PurchaseCompleted(customer_id="c", order_id="o", currency="USD", total="10.00", lines=LINES)
    packed = plain.model_copy(update={"lines": PackedLines(pack_lines(LINES))})
    assert packed.model_dump_json() == plain.model_dump_json()
    assert PurchaseCompleted.model_validate_json(packed.model_dump_json()) == plain
