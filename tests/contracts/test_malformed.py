"""Every reason for which a record cannot be read, and edge cases that can be read."""

import json
from datetime import timedelta
from typing import Any

import pytest

from shared.contracts.envelope import Record
from shared.contracts.reasons import Reason
from shared.contracts.registry import TYPES
from shared.contracts.values import format_instant
from tests.contracts.records import (
    ARRIVED,
    JSON,
    PURCHASE,
    REFUND,
    STRUCTURED,
    about,
    binary,
    data,
    envelope,
    read,
    record,
    refusal,
    structured,
)

REVIEW = "shop.review.published.v1"
SURVEY = "shop.survey.answered.v1"
UPDATE = "shop.customer.updated.v1"


def test_the_reasons_are_the_contracts_closed_list():
    assert set(Reason) == {
        *("not_json", "not_a_cloudevent", "missing_field", "bad_field", "time_in_future", "lines_do_not_add_up"),
        *("key_mismatch", "order_conflict", "currency_mismatch", "unknown_line", "unknown_code", "handler_refused"),
    }


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b" ",
        b"{",
        b"{'a': 1}",
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"specversion": "1.0"} {}',
        b"\xff\xfe{}",
        b'\xef\xbb\xbf{"specversion": "1.0"}',
        '{"specversion": "1.0"}'.encode("utf-16"),
        b'{"a": "\xed\xa0\x80"}',
        b'{"a": "\\ud800", "b": NaN}',
        b'{"a": ' + b"1" * 5000 + b"}",
        b"[" * 100_000,
        b"[" * 100_000 + b'"\\ud800"',
    ],
)
@pytest.mark.parametrize("headers", [(STRUCTURED,), (JSON, ("ce_id", b"1"), ("ce_specversion", b"1.0")), ()])
def test_not_json(value: bytes | None, headers: tuple[tuple[str, bytes], ...]):
    assert refusal(record(value, *headers)).reason is Reason.NOT_JSON


@pytest.mark.parametrize(
    "incoming",
    [
        record(b"null", STRUCTURED),
        record(b"[]", STRUCTURED),
        record(b'"text"', STRUCTURED),
        record(b"1.0", STRUCTURED),
        record(b"{}", STRUCTURED),
        record(b"{}"),
        record(b"null"),
        structured(envelope(specversion=...)),
        structured(envelope(specversion="0.3")),
        structured(envelope(specversion="1.0.1")),
        structured(envelope(specversion=1.0)),
        structured(envelope(specversion=None)),
        record(json.dumps([envelope()]).encode(), ("content-type", b"application/cloudevents-batch+json")),
        binary(envelope(specversion=...)),
        binary(envelope(specversion="0.3")),
        binary(envelope(data=None)),
        binary(envelope(data=[])),
        record(b"{}", JSON, ("ce_specversion", b"\xff")),
        record(b"{}", JSON, ("ce_specversion", None)),
    ],
)
def test_not_a_cloudevent(incoming: Record):
    assert refusal(incoming).reason is Reason.NOT_A_CLOUDEVENT


@pytest.mark.parametrize("name", ["id", "source", "type", "time"])
@pytest.mark.parametrize("value", [..., None])
def test_attributes_that_are_missing(name: str, value: object):
    error = refusal(structured(envelope(**{name: value})))
    assert (error.reason, error.detail) == (Reason.MISSING_FIELD, f"{name}: is required")


@pytest.mark.parametrize("name", ["id", "source", "type", "time"])
def test_attributes_that_are_missing_in_binary_mode(name: str):
    assert refusal(binary(envelope(**{name: ...}))).reason is Reason.MISSING_FIELD


def test_data_that_is_missing():
    assert refusal(structured(envelope(data=...))).reason is Reason.MISSING_FIELD
    assert refusal(structured(envelope(data=..., data_base64="e30="))).reason is Reason.MISSING_FIELD


def _required() -> list[tuple[str, str]]:
    return [
        (type_, name)
        for type_, event_type in TYPES.items()
        for name, field in event_type.model.model_fields.items()
        if field.is_required()
    ]


@pytest.mark.parametrize(("type_", "name"), _required())
def test_every_required_field_has_to_be_there_and_not_null(type_: str, name: str):
    absent, null = refusal(structured(about(type_, **{name: ...}))), refusal(structured(about(type_, **{name: None})))
    assert (absent.reason, absent.detail) == (Reason.MISSING_FIELD, f"data.{name}: Field required")
    assert null.reason is Reason.BAD_FIELD
    assert null.detail.startswith(f"data.{name}: ")


def test_a_missing_field_outranks_an_ill_typed_one():
    assert refusal(structured(about(total=1, currency=...))).reason is Reason.MISSING_FIELD


@pytest.mark.parametrize("field", ["line_id", "sku", "quantity", "amount"])
def test_fields_that_are_missing_in_a_line(field: str):
    line = {"line_id": "1", "sku": "s", "quantity": 1, "amount": "129.90"}
    del line[field]
    error = refusal(structured(about(lines=[line])))
    assert (error.reason, error.detail) == (Reason.MISSING_FIELD, f"data.lines.0.{field}: Field required")


def test_a_refusal_has_the_type_if_it_could_be_read():
    assert refusal(structured(about(total=1))).type == PURCHASE
    assert refusal(record(b"{")).type is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", ""),
        ("id", 7),
        ("id", "x" * 129),
        ("id", "a\x00"),
        ("id", "a\x85"),
        ("id", "\ud800"),
        ("source", ""),
        ("source", ["/s"]),
        ("source", "a b"),
        ("source", "متجر"),
        ("source", "/%zz"),
        ("source", "/" + "x" * 128),
        ("type", ""),
        ("type", 1),
        ("time", ""),
        ("time", 1_773_484_013),
        ("time", "2026-03-14 10:26:53Z"),
        ("time", "2026-03-14T10:26:53"),
        ("time", "9999-12-31T23:59:60Z"),
        ("subject", "c-1043"),
        ("subject", ""),
        ("subject", 1042),
        ("data", None),
        ("data", []),
        ("data", "text"),
        ("data", 1),
    ],
)
def test_bad_attributes(name: str, value: object):
    error = refusal(structured(envelope(**{name: value}), key=b"c-1042"))
    assert error.reason is Reason.BAD_FIELD
    assert error.detail.startswith(name)


@pytest.mark.parametrize("name", ["ce_id", "ce_source", "ce_time", "ce_subject"])
def test_attributes_that_are_not_utf_8(name: str):
    assert refusal(binary(envelope(), (name, b"a\xff"))).reason is Reason.BAD_FIELD


def test_a_type_on_the_wrong_topic():
    error = refusal(structured(envelope(), topic="shop.reviews"))
    assert (error.reason, error.detail) == (Reason.BAD_FIELD, f"type: {PURCHASE} travels on shop.purchases")


def test_two_lines_that_share_an_id():
    line = {"line_id": "1", "sku": "s", "quantity": 1, "amount": "1.00"}
    assert refusal(structured(about(total="2.00", lines=[line, line]))).reason is Reason.BAD_FIELD


@pytest.mark.parametrize("ahead", [timedelta(hours=24), timedelta(0), -timedelta(days=20_000)])
def test_time_up_to_a_day_ahead_and_of_any_age_is_accepted(ahead: timedelta):
    assert read(structured(envelope(time=format_instant(ARRIVED + ahead)))).time == ARRIVED + ahead


def test_time_in_future():
    time = format_instant(ARRIVED + timedelta(hours=24, microseconds=1))
    assert refusal(structured(envelope(time=time))).reason is Reason.TIME_IN_FUTURE


def test_what_wafa_publishes_may_be_dated_ahead():
    at = ARRIVED + timedelta(days=400)
    assert read(structured(envelope("loyalty.tier.promoted.v1", time=format_instant(at)))).time == at


@pytest.mark.parametrize(
    ("type_", "changes"),
    [
        (PURCHASE, {"total": "129.91"}),
        (PURCHASE, {"total": "0"}),
        (PURCHASE, {"total": "129.9001"}),
        (REFUND, {"amount": "24.94"}),
        (REFUND, {"lines": [{"line_id": "1", "quantity": 0, "amount": "0"}]}),
    ],
)
def test_lines_do_not_add_up(type_: str, changes: dict[str, Any]):
    assert refusal(structured(about(type_, **changes))).reason is Reason.LINES_DO_NOT_ADD_UP


@pytest.mark.parametrize("lines", [..., None, []])
@pytest.mark.parametrize("type_", [PURCHASE, REFUND])
def test_empty_lines_fit_any_total(type_: str, lines: object):
    assert read(structured(about(type_, lines=lines))).data.model_dump()["lines"] == ()


def test_lines_add_up_as_numbers_not_as_text():
    assert read(structured(about(total="0129.9000"))).type == PURCHASE


@pytest.mark.parametrize("key", [None, b"", b"c-1043", b"c-1042 ", b"\xff"])
def test_key_mismatch(key: bytes | None):
    assert refusal(structured(envelope(), key=key)).reason is Reason.KEY_MISMATCH


def test_a_key_that_looks_alike_in_another_unicode_form_is_another_customer():
    composed, decomposed = "café", "cafe\u0301"
    event = envelope(subject=..., data=data(customer_id=composed))
    assert refusal(structured(event, key=decomposed.encode())).reason is Reason.KEY_MISMATCH
