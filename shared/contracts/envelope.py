"""CloudEvents 1.0 on Kafka: decodes both modes, encodes structured mode."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final, Self, cast

import msgspec
import uuid_utils
from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from shared.contracts import quick
from shared.contracts.reasons import Malformed, Reason
from shared.contracts.registry import TYPES, EventType
from shared.contracts.shop import EventData
from shared.contracts.topics import PURCHASES, SHOP
from shared.contracts.values import Id, format_instant, in_utc, parse_instant

MOST_AHEAD: Final = timedelta(hours=24)
"""How far the time of an event may be ahead of the Kafka timestamp of its record."""

STRUCTURED: Final = b"application/cloudevents+json"

_SPEC: Final = "1.0"
_CONTENT_TYPE: Final = b"content-type"
_ATTRIBUTE: Final = b"ce_"
"""Prefix of the headers that contain attributes in binary mode."""
_NAME: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,128}")
_URI_REFERENCE: Final = re.compile(r"(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2}){1,128}")
_DECODER: Final = msgspec.json.Decoder()
_ID: Final = TypeAdapter(Id)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ABSENT: Final = object()
_LARGE: Final = 4096
"""Size in bytes from which a value goes to the parser with linear run time.

The fast parser takes 10 µs for a number such as 1e300, and a value has room for 150,000 of them.
"""
_TOPICS: Final = {event.name: event.topic for event in TYPES.values() if event.is_published}
_LATEST: Final = 253_402_128_000_000  # 9999-12-30 in milliseconds: MOST_AHEAD later is still a date


Headers = tuple[tuple[bytes, bytes | None], ...]
"""Names and contents of the headers of a record, in order; names are bytes, since a producer can write any."""


class Record(msgspec.Struct, frozen=True, gc=False):
    """A raw Kafka record; `timestamp` is Kafka's (the time of the append if the broker sets it)."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp: datetime


class Event(msgspec.Struct, frozen=True, gc=False):
    """A valid event of the contract; `time` is in UTC, `record` is the record that it was read from."""

    id: str
    source: str
    type: str
    time: datetime
    customer_id: str
    data: EventData
    correlation_id: str
    causation_id: str | None
    traceparent: str | None
    record: Record


class Cause(msgspec.Struct, frozen=True, gc=False):
    """The cause of an event: its root, its direct cause and its trace."""

    correlation_id: str
    causation_id: str
    traceparent: str | None = None

    @classmethod
    def of(cls, event: Event) -> Self:
        """The cause of events that this event triggers."""
        return cls(event.correlation_id, event.id, event.traceparent)

    @classmethod
    def of_request(cls, request_id: str, traceparent: str | None = None) -> Self:
        """The cause of events that an API call triggers; the call is their root."""
        return cls(request_id, request_id, traceparent)


class Publication(msgspec.Struct, frozen=True, gc=False):
    """A record in structured mode to be published, and the id of its event."""

    event_id: str
    topic: str
    key: bytes
    value: bytes


class PlainData(msgspec.Struct, frozen=True, gc=False):
    """The data of an event to be published, as its type's model has it; nothing checks it. Instants are in UTC."""

    customer_id: str


class _Structured(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """An event in structured mode, to be encoded: faster to create and encode than a dictionary."""

    specversion: str
    id: str
    source: str
    type: str
    time: datetime
    """In UTC: it is encoded as by `format_instant`, at a tenth of the cost."""
    subject: str
    datacontenttype: str
    correlationid: str
    causationid: str
    data: dict[str, Any] | PlainData | msgspec.Raw
    traceparent: str | None = None


def publication(
    type_: str, time: datetime, data: EventData | PlainData | dict[str, Any], cause: Cause, source: str
) -> Publication:
    """The event as a structured CloudEvent with a new UUIDv7, keyed by its customer.

    `time` is the business time of the root cause; `source` is `/wafa/<service>`. `data` may be a dictionary with the
    fields of the type's model and without nulls; it is not validated.

    Raises:
        KeyError: the contract has no such type, or nobody publishes it yet.
    """
    event_id = str(uuid_utils.uuid7())
    content: dict[str, Any] | PlainData | msgspec.Raw
    if isinstance(data, PlainData):
        customer, content = data.customer_id, data
    elif isinstance(data, dict):
        customer, content = data["customer_id"], data
    else:
        customer = data.customer_id
        content = msgspec.Raw(to_json(data, exclude_none=True, by_alias=True))
    structured = _Structured(
        _SPEC,
        event_id,
        source,
        type_,
        in_utc(time),
        customer,
        "application/json",
        cause.correlation_id,
        cause.causation_id,
        content,
        cause.traceparent,
    )
    return Publication(event_id, _TOPICS[type_], customer.encode(), msgspec.json.encode(structured))


def decode(record: Record, wanted: frozenset[str]) -> Event | None:
    """Decode the event of a record; None if its type is unknown or not `wanted`.

    Raises:
        Malformed: the record is not an event of the contract; has the reason.
    """
    if quick.PURCHASE in wanted and (event := decode_purchase(record)) is not None:
        return event
    attributes, data = _open(record)
    type_ = _text(attributes, "type")
    event_type = TYPES.get(type_)
    if event_type is None or type_ not in wanted:
        return None
    try:
        return _event(record, event_type, attributes, data)
    except Malformed as error:
        error.type = type_
        raise


def _event(record: Record, event_type: EventType, attributes: Mapping[str, Any], data: object) -> Event:
    if event_type.topic != record.topic:
        raise Malformed(Reason.BAD_FIELD, f"type: {event_type.name} travels on {event_type.topic}")
    if data is _ABSENT:
        raise Malformed(Reason.MISSING_FIELD, "data: is required")
    named = identity(attributes)
    return _assembled(record, event_type, attributes, named, _validate(event_type.model, data))


def decode_purchase(record: Record) -> Event | None:
    """Decode a well-formed purchase in structured mode; None for everything else.

    Raises:
        Malformed: see `decode`.
    """
    if record.value is None or record.topic != PURCHASES or not is_structured(record.headers):
        return None
    purchase = quick.look(record.value)
    if purchase is None:
        return None
    attributes = msgspec.structs.asdict(purchase.envelope)
    try:
        payload = quick.to_model(purchase)
        return _assembled(record, TYPES[quick.PURCHASE], attributes, identity(attributes), payload)
    except Malformed as error:
        error.type = quick.PURCHASE
        raise


def is_structured(headers: Headers) -> bool:
    """Whether the headers of a record say that it is in structured mode."""
    return (dict(headers).get(_CONTENT_TYPE) or b"").startswith(STRUCTURED)


def _assembled(
    record: Record,
    event_type: EventType,
    attributes: Mapping[str, Any],
    named: tuple[str, str, datetime],
    payload: EventData,
) -> Event:
    id_, source, time = named
    _check_key(record, payload.customer_id, attributes.get("subject"))
    # What falls due may be swept ahead of time: what Wafa publishes may be dated as far ahead as that.
    if time - record.timestamp > MOST_AHEAD and event_type.topic in SHOP:
        raise Malformed(Reason.TIME_IN_FUTURE, f"time: {format_instant(time)} is over 24 hours ahead of the record")
    return Event(
        id=id_,
        source=source,
        type=event_type.name,
        time=time,
        customer_id=payload.customer_id,
        data=payload,
        correlation_id=extension(attributes, "correlationid") or id_,
        causation_id=extension(attributes, "causationid"),
        traceparent=extension(attributes, "traceparent"),
        record=record,
    )


def _open(record: Record) -> tuple[Mapping[str, Any], Any]:
    """The attributes and the data (or `_ABSENT`) of a record in either mode."""
    headers = dict(record.headers)
    content_type = (headers.get(_CONTENT_TYPE) or b"").lower()
    value = _parse(record.value)
    structured = content_type.startswith(STRUCTURED)
    if not isinstance(value, dict):
        raise Malformed(Reason.NOT_A_CLOUDEVENT, "the value is not a JSON object")
    if not structured and any(name.startswith(_ATTRIBUTE) for name in headers):
        attributes = {
            name[len(_ATTRIBUTE) :].decode("utf-8", "surrogateescape"): content.decode("utf-8", "surrogateescape")
            for name, content in headers.items()
            if content is not None and name.startswith(_ATTRIBUTE)
        }
        _check_version(attributes)
        return attributes, cast("object", value)
    envelope = cast("dict[str, Any]", value)
    _check_version(envelope)
    return envelope, envelope.get("data", _ABSENT)


def _parse(value: bytes | None) -> object:
    if not value:
        raise Malformed(Reason.NOT_JSON, "the record has no value")
    if len(value) > _LARGE:
        return _parse_leniently(value)
    try:
        return _DECODER.decode(value)
    except (ValueError, RecursionError) as error:
        return _parse_leniently(value, str(error))


def _parse_leniently(value: bytes, error: str | None = None) -> object:
    # JSON's grammar allows escaped lone surrogates and numbers beyond all floats, the fast parser does not: such a
    # record is JSON with a bad field. What no parser here reads (a number of over 4,300 digits, a nesting of about
    # 1,000 levels) counts as not JSON.
    try:
        return json.loads(value.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as refused:
        raise Malformed(Reason.NOT_JSON, error or str(refused)) from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _check_version(attributes: Mapping[str, Any]) -> None:
    if attributes.get("specversion") != _SPEC:
        raise Malformed(Reason.NOT_A_CLOUDEVENT, f"specversion: has to be {_SPEC}")


def _text(attributes: Mapping[str, Any], name: str) -> str:
    value = attributes.get(name)
    if value is None:
        raise Malformed(Reason.MISSING_FIELD, f"{name}: is required")
    if not isinstance(value, str) or not value:
        raise Malformed(Reason.BAD_FIELD, f"{name}: has to be a string that is not empty")
    return value


def identity(attributes: Mapping[str, Any]) -> tuple[str, str, datetime]:
    """The id, source and time of an event.

    Raises:
        Malformed: one of them is missing or invalid.
    """
    id_, source, time = _text(attributes, "id"), _text(attributes, "source"), _text(attributes, "time")
    if _NAME.fullmatch(id_) is None:
        raise Malformed(Reason.BAD_FIELD, "id: has to be 1 to 128 characters without control characters")
    if not _is_uri_reference(source):
        raise Malformed(Reason.BAD_FIELD, "source: has to be a URI-reference of 1 to 128 characters")
    try:
        return id_, source, parse_instant(time)
    except ValueError as error:
        raise Malformed(Reason.BAD_FIELD, f"time: {error}") from None


@lru_cache(maxsize=1024)  # there are few sources
def _is_uri_reference(source: str) -> bool:
    return _URI_REFERENCE.fullmatch(source) is not None


def _validate(model: type[EventData], data: object) -> EventData:
    try:
        # `model_validate` without checking its arguments.
        return cast("EventData", model.__pydantic_validator__.validate_python(data, by_alias=True, by_name=False))
    except ValidationError as error:
        raise _malformed(error) from None


def _malformed(error: ValidationError) -> Malformed:
    """The first error with its path; a missing field takes precedence over an invalid one."""
    errors = error.errors(include_url=False, include_input=False, include_context=False)
    first = next((item for item in errors if item["type"] == "missing"), errors[0])
    kind = first["type"]
    reason = Reason.BAD_FIELD
    if kind == "missing":
        reason = Reason.MISSING_FIELD
    elif kind == str(Reason.LINES_DO_NOT_ADD_UP):
        reason = Reason.LINES_DO_NOT_ADD_UP
    # The steps `constrained-…` are pydantic's names for the branches of a union.
    path = ".".join(str(step) for step in ("data", *first["loc"]) if not str(step).startswith("constrained-"))
    return Malformed(reason, f"{path}: {first['msg'].removeprefix('Value error, ')}")


def _check_key(record: Record, customer_id: str, subject: object) -> None:
    if record.key != customer_id.encode():
        raise Malformed(Reason.KEY_MISMATCH, "the record's key is not its customer_id")
    if subject is not None and subject != customer_id:
        raise Malformed(Reason.BAD_FIELD, "subject: is not the customer_id")


def extension(attributes: Mapping[str, Any], name: str) -> str | None:
    """An optional extension; None if it is absent or cannot be stored in a text column."""
    value = attributes.get(name)
    return value if isinstance(value, str) and _NAME.fullmatch(value) else None


def check_id(value: str) -> bool:
    """Whether the contract allows `value` as an id."""
    try:
        _ID.validate_python(value)
    except ValidationError:
        return False
    return True


@lru_cache(maxsize=1024)  # records of a batch share timestamps
def from_milliseconds(timestamp: int) -> datetime:
    """Convert a Kafka timestamp (milliseconds since 1970; below 0 if there is none) to an instant.

    A producer can set any 64 bits: values out of range become the first or the last instant.
    """
    return _EPOCH + timedelta(milliseconds=min(max(timestamp, 0), _LATEST))
