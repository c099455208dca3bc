"""Both CloudEvents modes in, structured mode out, and what an event carries along."""

import json
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from shared.contracts.envelope import Cause, check_id, decode, from_milliseconds, publication
from shared.contracts.examples import EXAMPLES
from shared.contracts.reasons import Malformed
from shared.contracts.registry import TYPES
from shared.contracts.values import format_instant
from tests.contracts.records import (
    ARRIVED,
    EVERY_TYPE,
    JSON,
    STRUCTURED,
    binary,
    data,
    envelope,
    read,
    record,
    structured,
)

REVIEW = "shop.review.published.v1"
ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@pytest.mark.parametrize("type_", TYPES)
def test_every_example_reads_the_same_in_both_modes(type_: str):
    event = envelope(type_)
    in_structured, in_binary = read(structured(event)), read(binary(event, JSON))
    assert in_structured.type == type_
    assert in_structured.customer_id == event["data"]["customer_id"]
    assert structs.replace(in_structured, record=in_binary.record) == in_binary


def test_an_event_carries_its_record_and_its_time_in_utc():
    came = structured(envelope(time="2026-03-14T12:26:53.5+02:00"))
    event = read(came)
    assert event.record is came
    assert event.time == datetime(2026, 3, 14, 10, 26, 53, 500_000, tzinfo=UTC)
    assert event.time.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "content_type",
    [b"application/cloudevents+json", b"application/cloudevents+json; charset=utf-8", b"Application/CloudEvents+JSON"],
)
def test_the_content_type_of_structured_mode_may_have_parameters_and_capitals(content_type: bytes):
    came = record(json.dumps(envelope()).encode(), ("content-type", content_type))
    assert read(came).type == "shop.purchase.completed.v1"


@pytest.mark.parametrize("headers", [(), (JSON,), (("content-type", b"text/plain"),), (("content-type", None),)])
def test_a_value_with_specversion_is_structured_whatever_the_content_type(headers: tuple[tuple[str, bytes], ...]):
    assert read(record(json.dumps(envelope()).encode(), *headers)).id == "evt-1001"


@pytest.mark.parametrize("headers", [(), (JSON,), (("content-type", b"application/json; charset=utf-8"),)])
def test_attributes_in_headers_make_it_binary(headers: tuple[tuple[str, bytes], ...]):
    assert read(binary(envelope(), *headers)).id == "evt-1001"


def test_the_content_type_of_structured_mode_outranks_attributes_in_headers():
    came = record(json.dumps(envelope()).encode(), ("ce_id", b"other"), STRUCTURED)
    assert read(came).id == "evt-1001"


def test_the_last_of_repeated_headers_counts():
    assert read(binary(envelope(), ("ce_id", b"second"))).id == "second"
    assert read(record(json.dumps(envelope()).encode(), JSON, STRUCTURED)).id == "evt-1001"


def test_a_header_without_a_value_is_treated_as_absent():
    assert read(binary(envelope(), ("ce_subject", None))).customer_id == "c-1042"


def test_other_headers_are_ignored_even_when_they_are_not_utf_8():
    assert read(binary(envelope(), ("trace", b"\xff"), ("ce_vendor", b"\xff"))).id == "evt-1001"


@pytest.mark.parametrize("type_", ["shop.purchase.completed.v2", "shop.unheard.of.v1", "ليلى", "\ud800"])
def test_an_unknown_type_is_skipped_whatever_its_data(type_: str):
    for content in ([], None, ...):
        assert decode(structured(envelope(type=type_, data=content)), EVERY_TYPE) is None


def test_a_type_that_is_not_wanted_is_skipped_before_it_is_read():
    assert decode(structured(envelope(data=None)), frozenset({REVIEW})) is None


def test_unknown_attributes_and_fields_are_ignored():
    event = envelope(dataschema="x", extra={"deep": [1]}, data=data(surprise={"a": 1}, gift="\ud800"))
    assert read(structured(event)).data == read(structured(envelope())).data


def test_the_last_of_repeated_json_names_counts():
    text = json.dumps(envelope()).replace('"specversion": "1.0"', '"specversion": "0.3", "specversion": "1.0"')
    assert read(record(text.encode(), STRUCTURED)).id == "evt-1001"


def test_customer_ids_of_any_script_are_keys_in_utf_8():
    event = envelope(subject="عميل-٧", data=data(customer_id="عميل-٧"))
    assert read(structured(event)).customer_id == "عميل-٧"
    assert read(binary(event)).customer_id == "عميل-٧"


@pytest.mark.parametrize("subject", [..., None, "c-1042"])
def test_the_subject_is_optional(subject: object):
    assert read(structured(envelope(subject=subject))).customer_id == "c-1042"


def test_the_correlation_id_defaults_to_the_event_id():
    event = read(structured(envelope()))
    assert (event.correlation_id, event.causation_id, event.traceparent) == ("evt-1001", None, None)


@pytest.mark.parametrize("value", [7, "", "a\x00b", "x" * 129, None, "\ud800"])
def test_an_invalid_extension_is_treated_as_absent(value: object):
    event = read(structured(envelope(correlationid=value, causationid=value, traceparent=value)))
    assert (event.correlation_id, event.causation_id, event.traceparent) == ("evt-1001", None, None)


def test_extensions_are_carried_in_both_modes():
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    event = envelope(correlationid="root", causationid="parent", traceparent=trace)
    for came in (structured(event), binary(event)):
        event = read(came)
        assert (event.correlation_id, event.causation_id, event.traceparent) == ("root", "parent", trace)


@pytest.mark.parametrize("type_", [name for name, event in TYPES.items() if event.is_published])
def test_a_publication_decodes_to_what_was_published(type_: str):
    payload = TYPES[type_].model.model_validate(EXAMPLES[type_].data, by_alias=True, by_name=False)
    at = datetime(2026, 3, 14, 10, 26, 53, 589_000, tzinfo=UTC)
    sent = publication(type_, at, payload, Cause("root", "parent", "00-trace"), "/wafa/points")
    event = read(record(sent.value, STRUCTURED, topic=sent.topic, key=sent.key))
    assert (event.id, event.source, event.type, event.time) == (sent.event_id, "/wafa/points", type_, at)
    assert (event.correlation_id, event.causation_id, event.traceparent) == ("root", "parent", "00-trace")
    assert event.data == payload


def test_a_publication_is_a_cloudevent_with_a_uuid7_and_without_nulls():
    payload = TYPES["loyalty.tier.demoted.v1"].model.model_validate(EXAMPLES["loyalty.tier.demoted.v1"].data)
    at = datetime(2027, 3, 15, tzinfo=UTC)
    sent = publication("loyalty.tier.demoted.v1", at, payload, Cause.of_request("req-1"), "/wafa/tiers")
    value = json.loads(sent.value)
    assert UUID(value["id"]).version == 7
    assert value["time"] == "2027-03-15T00:00:00Z"
    assert value["subject"] == "c-1042"
    assert sent.key == b"c-1042"
    assert sent.topic == "loyalty.tiers"
    assert value["data"]["from"] == "silver"
    assert "from_" not in value["data"]
    assert None not in value.values()
    assert None not in value["data"].values()


@given(st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=ZONES))  # noqa: DTZ001 bounds have no zone
def test_the_time_of_a_publication_is_in_utc_in_the_format_of_instants(at: datetime):
    payload = {"customer_id": "c-1042"}
    sent = publication("loyalty.tier.demoted.v1", at, payload, Cause.of_request("req-1"), "/wafa/tiers")
    assert json.loads(sent.value)["time"] == format_instant(at)


def test_a_publication_of_a_type_outside_the_contract():
    payload = read(structured(envelope())).data
    with pytest.raises(KeyError):
        publication("loyalty.points.lost.v1", ARRIVED, payload, Cause.of_request("r"), "/wafa/points")


def test_the_cause_of_an_event_keeps_the_root_and_the_trace():
    event = read(structured(envelope(correlationid="root", traceparent="00-trace")))
    assert Cause.of(event) == Cause("root", "evt-1001", "00-trace")


def test_the_first_event_of_a_chain_is_its_own_root():
    assert Cause.of(read(structured(envelope()))) == Cause("evt-1001", "evt-1001", None)


def test_a_request_is_the_root_of_what_it_causes():
    assert Cause.of_request("req-1", "00-trace") == Cause("req-1", "req-1", "00-trace")


@pytest.mark.parametrize(
    ("milliseconds", "instant"),
    [
        (-1, datetime(1970, 1, 1, tzinfo=UTC)),
        (1_773_484_013_589, datetime(2026, 3, 14, 10, 26, 53, 589_000, tzinfo=UTC)),
        (2**63 - 1, datetime(9999, 12, 30, tzinfo=UTC)),
    ],
)
def test_kafka_timestamps_are_instants_whatever_a_producer_set(milliseconds: int, instant: datetime):
    assert from_milliseconds(milliseconds) == instant


def test_a_record_with_an_absurd_timestamp_is_still_validated():
    late = structs.replace(structured(envelope()), timestamp=from_milliseconds(2**63 - 1))
    early = structs.replace(structured(envelope()), timestamp=from_milliseconds(-(2**63)))
    assert read(late).id == "evt-1001"
    with pytest.raises(Malformed, match="time_in_future"):
        read(early)


@pytest.mark.parametrize(
    ("text", "is_id"), [("c-1", True), ("", False), (".", False), ("a/b", False), ("x" * 128, True), ("x" * 129, False)]
)
def test_ids_can_be_checked_alone(text: str, is_id: bool):
    assert check_id(text) is is_id
