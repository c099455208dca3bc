"""A purchase handed on as plain values is the same purchase."""

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
    one = record(json.dumps(event).encode(), STRUCTURED, key=event["data"]["customer_id"].encode())
    found = decode_purchase(one)
    assert found is not None
    return found, one


def flat(one: Record) -> Flat:
    found = flatten(one.topic, one.key, one.value, one.headers)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"customer_id": "عميل", "channel": "web", "store_id": "s\u2028", "coupon_codes": ["A", "ب"]},
        {"lines": [], "total": "0.0001"},
        {"lines": None},
    ],
)
def test_it_comes_back_as_it_went(changes: dict[str, Any]):
    event, one = purchase(**changes)
    found = restore(marshal.loads(marshal.dumps(flat(one))), one)
    assert found is not None
    assert found == event
    assert event == found, "from both sides"
    assert found.data.model_fields_set == event.data.model_fields_set


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00Z", "2026-06-01T10:00:00.000001+03:00", "2024-12-31T23:59:60Z"])
def test_its_time_is_the_same_instant(time: str):
    event = about()
    event["time"] = time
    one = record(json.dumps(event).encode(), STRUCTURED, key=event["data"]["customer_id"].encode())
    found = decode_purchase(one)
    assert found is not None
    again = restore(flat(one), one)
    assert again is not None
    assert (again.time, again.time.tzinfo) == (found.time, found.time.tzinfo)


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
def test_what_is_no_purchase_of_the_contract_is_left_to_the_models(changes: dict[str, Any]):
    one = record(json.dumps({**about(), **changes}).encode(), STRUCTURED, key=about()["data"]["customer_id"].encode())
    assert flatten(one.topic, one.key, one.value, one.headers) is None


def test_a_purchase_under_a_foreign_key_or_without_its_content_type_is_left_to_the_models():
    _, one = purchase()
    assert flatten(one.topic, b"another", one.value, one.headers) is None
    assert flatten(one.topic, one.key, one.value, ()) is None
    assert flatten("shop.reviews", one.key, one.value, one.headers) is None
    assert flatten(one.topic, one.key, None, one.headers) is None


def test_a_purchase_of_the_future_is_left_to_the_models():
    _, one = purchase()
    before = structs.replace(one, timestamp=one.timestamp - timedelta(days=10_000))
    assert restore(flat(before), before) is None
    with pytest.raises(Malformed):
        decode_purchase(before)


def test_packed_lines_are_the_lines():
    packed = PackedLines(pack_lines(LINES))
    assert packed
    assert packed == LINES
    assert tuple.__eq__(LINES, packed) is NotImplemented, "so that it is asked from the other side too"
    assert packed == PackedLines(pack_lines(LINES))
    assert packed != LINES[:1]
    assert (len(packed), packed[1], packed[:1], list(packed)) == (2, LINES[1], LINES[:1], [*LINES])
    assert hash(packed) == hash(LINES)
    assert repr(packed) == repr(LINES)
    assert not PackedLines(pack_lines(()))


def test_an_order_is_stored_alike_whether_its_lines_are_packed_or_not():
    plain = PurchaseCompleted(customer_id="c", order_id="o", currency="USD", total="10.00", lines=LINES)
    packed = plain.model_copy(update={"lines": PackedLines(pack_lines(LINES))})
    stored = _JSON_ENCODER.encode(order_to_json(packed))
    assert stored == _JSON_ENCODER.encode(order_to_json(plain))
    assert order_from_json("c", "o", json.loads(stored)) == plain


def test_an_order_reads_alike_whether_its_lines_are_packed_or_not():
    plain = PurchaseCompleted(customer_id="c", order_id="o", currency="USD", total="10.00", lines=LINES)
    packed = plain.model_copy(update={"lines": PackedLines(pack_lines(LINES))})
    assert packed.model_dump_json() == plain.model_dump_json()
    assert PurchaseCompleted.model_validate_json(packed.model_dump_json()) == plain
