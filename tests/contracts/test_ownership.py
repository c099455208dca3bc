"""The customers of a record are read from any bytes, as far as possible."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts import ownership
from shared.contracts.values import format_instant
from tests.contracts.records import ARRIVED, JSON, STRUCTURED, binary, data, envelope, record, structured

APPROVED = "loyalty.referral.approved.v1"
TIME = datetime(2027, 5, 1, 8, tzinfo=UTC)


def names(incoming: Any) -> set[str]:
    return set(ownership.of_record(incoming).customer_ids)


@pytest.mark.parametrize("encode", [structured, binary])
def test_customers_are_read_from_key_subject_and_data(encode: Any):
    event = envelope(subject="omar", time=format_instant(TIME), data=data(customer_id="mona"))
    assert ownership.of_record(encode(event, key=b"ann")) == (("ann", "omar", "mona"), TIME)
    agreed = envelope(subject="mona", data=data(customer_id="mona"))
    assert ownership.of_record(encode(agreed, key=b"mona")).customer_ids == ("mona",)


def test_both_customers_of_a_referral_are_read():
    event = envelope(APPROVED, subject=..., data=data(APPROVED, customer_id="ann", friend_id="ben"))
    assert names(structured(event)) == {"ann", "ben"}


@pytest.mark.parametrize(
    ("incoming", "expected"),
    [
        (record(None, key=b"mona"), {"mona"}),
        (record(b"", key=None), set()),
        (record(b"{", key=b"\xff"), set()),
        (record(b"{", key="زبون".encode()), {"زبون"}),
        (record(b"{", key=b"a/b"), set()),
        (record(b"{", key=b"m" * 129), set()),
        (record(b"[1]", STRUCTURED, key=b"mona"), {"mona"}),
        (record(b'"text"', STRUCTURED, key=b"mona"), {"mona"}),
        (record(b'{"data": {"customer_id": 7}, "subject": []}', STRUCTURED, key=b"mona"), {"mona"}),
        (record(b'{"customer_id": "plain"}', JSON, key=b"mona"), {"mona", "plain"}),
        (record(b'{"data": {"customer_id": "om\\u0061r", "name"', STRUCTURED, key=b"mona"), {"mona", "omar"}),
        (record(b'\xff"friend_id" :"ben","customer_id":"a\\"b"', key=b"mona"), {"mona", "ben", 'a"b'}),
        (record(b'{"data": {"customer_id": "\\ud800"}}', key=b"mona"), {"mona"}),
    ],
)
def test_customers_are_read_from_malformed_records(incoming: Any, expected: set[str]):
    assert names(incoming) == expected


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (format_instant(TIME), TIME),
        (format_instant(ARRIVED + timedelta(hours=24)), ARRIVED + timedelta(hours=24)),
        (format_instant(ARRIVED + timedelta(hours=24, seconds=1)), None),
        ("yesterday", None),
        (7, None),
        (..., None),
    ],
)
def test_only_a_credible_time_counts(time: Any, expected: datetime | None):
    assert ownership.of_record(structured(envelope(time=time))).occurred_at == expected


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["data", "customer_id", "subject", "time", "x"]), inner, max_size=3)
    ),
)


@given(st.binary(max_size=50) | JSONS.map(lambda value: json.dumps(value).encode()), st.binary(max_size=10))
def test_any_bytes_are_read(value: bytes, key: bytes):
    for headers in ((STRUCTURED,), ((b"ce_\xff", b"\xff"), (b"ce_subject", b"mona"), (b"ce_time", None)), ()):
        owners = ownership.of_record(record(value, *headers, key=key))
        assert all(0 < len(name) <= 128 for name in owners.customer_ids)
