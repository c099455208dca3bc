"""Records as columns: dead letters and waiting events are stored as they were received."""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import structs
from pydantic_core import to_json

from shared.contracts.envelope import STRUCTURED, Event, Headers, Record
from shared.contracts.values import format_instant

_STRUCTURED: Final = ((b"content-type", STRUCTURED),)

COLUMNS = ("topic", "partition", "offset", "key", "value", "header_names", "header_values", "timestamp")


def to_row(record: Record) -> tuple[Any, ...]:
    """A record as a row of COLUMNS."""
    names, contents = header_columns(record.headers)
    return (
        record.topic,
        record.partition,
        record.offset,
        record.key,
        record.value,
        names,
        contents,
        record.timestamp,
    )


def from_row(row: Mapping[str, Any]) -> Record:
    """The record of a row with COLUMNS."""
    return Record(
        topic=row["topic"],
        partition=row["partition"],
        offset=row["offset"],
        key=row["key"],
        value=row["value"],
        headers=tuple(zip(row["header_names"], row["header_values"], strict=True)),
        timestamp=row["timestamp"],
    )


def header_columns(headers: Headers) -> tuple[list[bytes], list[bytes | None]]:
    """Headers as two columns, of names and of contents."""
    return [name for name, _ in headers], [content for _, content in headers]


def reduced(event: Event) -> Record:
    """The record of an event with only the fields of the contract, at the same partition and offset."""
    envelope = {
        "specversion": "1.0",
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "time": format_instant(event.time),
        "correlationid": event.correlation_id,
        "causationid": event.causation_id,
        "traceparent": event.traceparent,
        "data": event.data,
    }
    value = to_json(envelope, exclude_none=True, by_alias=True)
    return structs.replace(event.record, key=event.customer_id.encode(), value=value, headers=_STRUCTURED)
