"""Reading any record gives an event, nothing, or Malformed."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.contracts import shop
from shared.contracts.envelope import Cause, Event, Record, decode, from_milliseconds, publication
from shared.contracts.examples import EXAMPLES
from shared.contracts.reasons import Malformed, Reason
from shared.contracts.registry import TYPES
from shared.contracts.topics import ALL
from tests.contracts.records import EVERY_TYPE, STRUCTURED, envelope, record
from tests.support.headers import in_bytes

_ANY_TEXT = st.text(alphabet=st.characters(codec=None), max_size=20)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_ANY_TEXT, inner, max_size=3),
    max_leaves=8,
)
_NAMES = st.sampled_from(
    ["content-type", "ce_id", "ce_type", "ce_source", "ce_time", "ce_specversion", "ce_subject", "ce_", "x"]
)
_CONTENTS = st.none() | st.binary(max_size=20) | st.sampled_from([STRUCTURED[1], b"application/json", b"1.0"])
_HEADERS = st.lists(st.tuples(_NAMES | _ANY_TEXT | st.binary(max_size=12), _CONTENTS), max_size=5).map(tuple)


def judge(incoming: Record) -> Event | Reason | None:
    """The result of reading a record; any other exception is a fault of the reader."""
    try:
        return decode(incoming, EVERY_TYPE)
    except Malformed as error:
        refused = error
    assert refused.detail.encode()
    assert "\x00" not in refused.detail
    return refused.reason


@given(
    value=st.none() | st.binary(max_size=200),
    key=st.none() | st.binary(max_size=10),
    headers=_HEADERS,
    topic=st.sampled_from(ALL),
    timestamp=st.integers(-(2**63), 2**63 - 1),
)
@example(value=b"\x00", key=b"", headers=(), topic="shop.purchases", timestamp=0)
def test_any_bytes(value: bytes, key: bytes, headers: tuple[tuple[str, bytes], ...], topic: str, timestamp: int):
    judged = judge(Record(topic, 0, 0, key, value, in_bytes(headers), from_milliseconds(timestamp)))
    assert not isinstance(judged, Event)


@given(_JSON, _HEADERS)
def test_any_json(value: object, headers: tuple[tuple[str, bytes], ...]):
    judge(record(json.dumps(value).encode("utf-8", "surrogatepass"), *headers))


@given(type_=st.sampled_from(list(TYPES)), content=st.data())
@settings(max_examples=300)
def test_an_event_with_any_json_in_one_place(type_: str, content: st.DataObject):
    event = envelope(type_)
    place = content.draw(st.sampled_from([*event, *(f"data.{name}" for name in event["data"])]))
    put(event, place, content.draw(_JSON))
    value = json.dumps(event).encode()
    judged = judge(
        record(value, STRUCTURED, topic=TYPES[type_].topic, key=str(event["subject"]).encode(errors="replace"))
    )
    assert judged is None or isinstance(judged, Event | Reason)


def put(event: dict[str, Any], place: str, value: object) -> None:
    if place.startswith("data."):
        event["data"][place.removeprefix("data.")] = value
    else:
        event[place] = value


@given(st.data())
@settings(max_examples=200)
def test_a_record_with_one_byte_changed(content: st.DataObject):
    type_ = content.draw(st.sampled_from(list(TYPES)))
    value = bytearray(json.dumps(EXAMPLES[type_].envelope(), ensure_ascii=False).encode())
    value[content.draw(st.integers(0, len(value) - 1))] = content.draw(st.integers(0, 255))
    judge(record(bytes(value), STRUCTURED, topic=TYPES[type_].topic))


@given(name=_ANY_TEXT, value=_JSON)
def test_stored_properties_serialize_to_json(name: str, value: object):
    event = EXAMPLES["shop.activity.performed.v1"].envelope()
    event["data"] |= {"properties": {name: value}}
    judged = judge(record(json.dumps(event).encode(), STRUCTURED, topic="shop.activities"))
    if isinstance(judged, Event):
        written = json.dumps(judged.data.model_dump(mode="json"), allow_nan=False, ensure_ascii=False)
        assert "\x00" not in written
        assert json.loads(written.encode()) == judged.data.model_dump(mode="json")


_IDS = st.text(
    alphabet=st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/."), min_size=1, max_size=128
)
_AMOUNTS = st.decimals(min_value=0, max_value=10**6, places=4)


@st.composite
def purchases(draw: st.DrawFn) -> shop.PurchaseCompleted:
    """A purchase as any shop could make it."""
    amounts = draw(st.dictionaries(_IDS, _AMOUNTS, max_size=5))
    lines = [
        {"line_id": line_id, "sku": draw(_IDS), "quantity": draw(st.integers(0, 100_000)), "amount": f"{amount:f}"}
        for line_id, amount in amounts.items()
    ]
    fields = {"customer_id": draw(_IDS), "order_id": draw(_IDS), "currency": "USD", "lines": lines}
    return shop.PurchaseCompleted.model_validate(fields | {"total": f"{sum(amounts.values(), Decimal(0)):f}"})


@given(purchases(), _IDS, _IDS)
def test_a_published_event_is_read_back_unchanged(bought: shop.PurchaseCompleted, root: str, parent: str):
    at = datetime(2026, 3, 14, 10, 26, 53, 589_001, tzinfo=UTC)
    sent = publication("shop.purchase.completed.v1", at, bought, Cause(root, parent), "/wafa/points")
    event = judge(record(sent.value, STRUCTURED, topic=sent.topic, key=sent.key))
    assert isinstance(event, Event)
    assert (event.data, event.time, event.correlation_id, event.causation_id) == (bought, at, root, parent)


@given(st.datetimes(datetime(1970, 1, 2), datetime(2027, 5, 1)))  # noqa: DTZ001 bounds have no zone
def test_the_time_of_an_event_is_read_to_the_microsecond(moment: datetime):
    moment = moment.replace(tzinfo=UTC)
    event = judge(record(json.dumps(envelope(time=moment.isoformat())).encode(), STRUCTURED))
    assert isinstance(event, Event)
    assert event.time == moment
