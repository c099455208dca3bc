"""The quick reader of purchases against the models: what it accepts, they accept with the same result.

Planted and caught here: a quantity below 0; a repeated line id; money with five decimals; text with NUL; an id of
two dots; a category that is a number.
"""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from shared.contracts import fields, quick
from shared.contracts.envelope import decode
from shared.contracts.packed import flatten, restore
from shared.contracts.reasons import Malformed
from tests.contracts.records import EVERY_TYPE, STRUCTURED, about, data, envelope, record

_ODD = st.one_of(
    st.sampled_from(
        ["", ".", "..", "...", "a/b", "\x00", "\x7f", "\x85", "\ud800", "é" * 129, "x" * 10_001, "usd", "USD "]
    ),
    st.sampled_from(["1", "1.5", "1.55555", "-1", "1e3", "00001", "0" * 20 + "1", "9" * 13, " 1", "1.", ".5", "١"]),
    st.sampled_from([None, True, 0, -1, 7, 10**12, 10**30, 1.0, 1.5, [], {}, ["x"], [None], [1]]),
    st.text(max_size=4),
)

_EXTENSIONS = ("correlationid", "causationid", "traceparent", "unknown")
_OPTIONAL = ("channel", "store_id", "coupon_codes", "unknown")


def test_the_reader_has_the_fields_of_the_contract_in_their_order():
    assert quick.Purchase.__struct_fields__ == fields.PURCHASE
    assert quick._Line.__struct_fields__ == fields.LINE


def read(value: bytes, *headers: tuple[str, bytes], key: bytes) -> tuple[object, ...]:
    """The result of reading a record; without a content type the models read it."""
    try:
        decoded = decode(record(value, *headers, key=key), EVERY_TYPE)
    except Malformed as error:
        return error.reason, error.detail, error.type
    if decoded is None:
        return ()
    return (
        structs.replace(decoded, record=None),
        type(decoded.data),
        [type(line) for line in getattr(decoded.data, "lines", ())],
    )


def check(event: dict[str, Any]) -> None:
    value = json.dumps(event).encode()
    fields = event.get("data")
    key = str(fields.get("customer_id") if isinstance(fields, dict) else "c").encode("utf-8", "replace")
    assert read(value, STRUCTURED, key=key) == read(value, key=key)
    sent = record(value, STRUCTURED, key=key)
    flat = flatten(sent.topic, sent.key, sent.value, sent.headers)
    if flat is not None:  # packed for another process
        assert restore(flat, sent) == decode(sent, EVERY_TYPE)


@given(content=st.data())
@settings(max_examples=600)
def test_any_value_in_a_field_is_read_as_the_models_read_it(content: st.DataObject):
    event = envelope()
    purchase = event["data"]
    places = [(event, name) for name in (*event, *_EXTENSIONS)] + [(purchase, name) for name in (*purchase, *_OPTIONAL)]
    target, place = content.draw(
        st.sampled_from([*places, *((purchase["lines"][0], name) for name in (*purchase["lines"][0], "unknown"))])
    )
    target[place] = content.draw(_ODD)
    check(event)


_LINE = st.fixed_dictionaries(
    {
        "line_id": st.sampled_from(["1", "2", "a b", "وفاء"]),
        "sku": st.sampled_from(["s", "t"]),
        "quantity": st.sampled_from([0, 1, "1.5", "0", 10**12 - 1]),
        "amount": st.sampled_from(["0", "1.25", "2.5000", "1.25000"]),
    },
    optional={"category": st.sampled_from(["tea", "", None])},
)


@given(lines=st.lists(_LINE, max_size=4), total=st.sampled_from(["0", "1.25", "2.50", "3.75", "5"]))
@settings(max_examples=300)
def test_line_totals_and_repeated_line_ids(lines: list[dict[str, Any]], total: str):
    check(about(lines=lines, total=total))


@pytest.mark.parametrize(
    "changes",
    [
        {"customer_id": "c\x00d"},
        {"order_id": "o\x00p"},
        {"total": "1\x002"},
        {"total": "3.00", "lines": [{"line_id": "1", "sku": "s", "quantity": 1, "amount": "1.00\x002.00"}]},
    ],
)
def test_a_value_with_nul_is_never_split(changes: dict[str, Any]):
    event = about(**changes)
    assert quick.look(json.dumps(event).encode()) is None
    check(event)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"lines": None},
        {"lines": []},
        {"lines": ...},
        {"coupon_codes": []},
        {"channel": None},
        {"unknown": {"x": 1}},
    ],
)
def test_an_ordinary_purchase_takes_the_quick_path(changes: dict[str, Any]):
    event = about(**changes)
    if not event["data"].get("lines"):
        event["data"]["total"] = data()["total"]
    assert quick.look(json.dumps(event).encode()) is not None
    check(event)
