"""Reading any record takes time and memory in proportion to its size."""

import gc
import json
import time
import tracemalloc

import pytest

from shared.contracts import ownership
from shared.contracts.envelope import Record, decode
from shared.contracts.reasons import Malformed, Reason
from shared.messaging.record_fields import MOST_BYTES
from tests.contracts.records import ACTIVITY, EVERY_TYPE, PURCHASE, about, record

TIMES = 50
"""Maximum time, as a multiple of parsing a plain array of the same size; these took up to 200 times as long."""
MEMORY = 100 * MOST_BYTES


def filled(type_: str, field: str, item: str, begin: str = "[", end: str = "]") -> bytes:
    """An event with a field that repeats an item until the record has the maximum size."""
    before, after = json.dumps(about(type_, **{field: "@"})).split('"@"')
    count = (MOST_BYTES - len(before) - len(after) - 100) // (len(item) + 1)
    return f"{before}{begin}{','.join([item] * count)}{end}{after}".encode()


LINE = '{"line_id":"1","sku":"s","quantity":1,"amount":"1.00"}'
LARGE = {
    "lines without fields": (filled(PURCHASE, "lines", "{}"), Reason.MISSING_FIELD),
    "lines that are numbers": (filled(PURCHASE, "lines", "0"), Reason.BAD_FIELD),
    "lines that are lists": (filled(PURCHASE, "lines", "[]"), Reason.BAD_FIELD),
    "lines with four faults": (filled(PURCHASE, "lines", LINE.replace('"', "").join("[]")), Reason.NOT_JSON),
    "lines with an ill-typed amount": (filled(PURCHASE, "lines", LINE.replace('"1.00"', "1")), Reason.BAD_FIELD),
    "more lines than there may be": (filled(PURCHASE, "lines", LINE), Reason.BAD_FIELD),
    "coupons": (filled(PURCHASE, "coupon_codes", "0"), Reason.BAD_FIELD),
    "numbers that are hard to read": (filled(PURCHASE, "lines", "1.7976931348623157e308"), Reason.BAD_FIELD),
    "an extension of such": (
        filled(PURCHASE, "lines", "1e300").replace(b'"data"', b'"x"').replace(b'"lines"', b'"correlationid"'),
        Reason.MISSING_FIELD,
    ),
    "a long whole number": (filled(PURCHASE, "total", "1" * (MOST_BYTES // 2), "", ""), Reason.NOT_JSON),
    "a long fraction": (filled(PURCHASE, "total", "0." + "1" * (MOST_BYTES // 2), "", ""), Reason.BAD_FIELD),
    "escapes": (filled(PURCHASE, "total", "\\u0041", '"', '"'), Reason.BAD_FIELD),
    "lone surrogates": (filled(PURCHASE, "total", "\\ud800", '"', '"'), Reason.BAD_FIELD),
    "depth": (b"[" * MOST_BYTES, Reason.NOT_JSON),
    "depth of objects": (b'{"a":' * (MOST_BYTES // 5), Reason.NOT_JSON),
    "depth beside depth": (filled(PURCHASE, "lines", "[" * 400 + "]" * 400), Reason.BAD_FIELD),
    "names": (
        b"{" + b",".join(b'"%d":0' % number for number in range(90_000)) + b"}",
        Reason.NOT_A_CLOUDEVENT,
    ),
    "names of customers": (b'"customer_id":"' * (MOST_BYTES // 15), Reason.NOT_JSON),
    "blanks": (b'"customer_id"' + b" " * (MOST_BYTES - 20), Reason.NOT_A_CLOUDEVENT),
    "a free-form field": (filled(ACTIVITY, "properties", "{}", '{"a":[', "]}"), None),
}


def read(incoming: Record) -> tuple[Reason | None, str]:
    """The reason and the detail of the refusal of a record; None if it is an event."""
    try:
        decode(incoming, EVERY_TYPE)
    except Malformed as error:
        return error.reason, error.detail
    return None, ""


def plain_seconds() -> float:
    plain = "[" + ",".join(["0"] * (MOST_BYTES // 2)) + "]"
    began = time.process_time()
    for _ in range(3):
        json.loads(plain)
    return (time.process_time() - began) / 3


@pytest.mark.parametrize("name", LARGE)
def test_a_large_value_takes_bounded_time(name: str):
    value, reason = LARGE[name]
    assert len(value) <= MOST_BYTES
    incoming = record(value, topic="shop.activities" if reason is None else "shop.purchases")
    gc.freeze()  # as a worker does; otherwise collections traverse the objects of other tests
    try:
        actual, detail, seconds = timed(incoming)
    finally:
        gc.unfreeze()
    assert seconds < TIMES * plain_seconds()
    assert actual == reason
    assert len(detail) < 500


def timed(incoming: Record) -> tuple[Reason | None, str, float]:
    """The result of reading a record, and the processor time in seconds."""
    began = time.process_time()
    reason, detail = read(incoming)
    ownership.of_record(incoming)
    return reason, detail, time.process_time() - began


@pytest.mark.parametrize("name", ["lines without fields", "coupons"])
def test_a_large_value_takes_bounded_memory(name: str):
    incoming = record(LARGE[name][0])
    tracemalloc.start()
    try:
        read(incoming)
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()


def test_a_large_order_is_read():
    """10,000 lines, the maximum, in a record of almost the maximum size."""
    lines = [{"line_id": str(number), "sku": f"s{number}", "quantity": 1, "amount": "1.00"} for number in range(10_000)]
    value = json.dumps(about(PURCHASE, lines=lines, total="10000.00", note="é" * 8)).encode()
    assert len(value) <= MOST_BYTES
    event = decode(record(value), EVERY_TYPE)
    assert event is not None
    assert len(event.data.lines) == 10_000  # pyright: ignore[reportAttributeAccessIssue] it is a purchase
