"""Raw records as columns: how dead letters and waiting events are kept as they came."""

from collections.abc import Mapping
from typing import Any

from shared.contracts.envelope import Record

COLUMNS = ("topic", "partition", "offset", "key", "value", "header_names", "header_values", "timestamp")


def to_row(record: Record) -> tuple[Any, ...]:
    """The record in the order of COLUMNS."""
    return (
        record.topic,
        record.partition,
        record.offset,
        record.key,
        record.value,
        [name for name, _ in record.headers],
        [content for _, content in record.headers],
        record.timestamp,
    )


def from_row(row: Mapping[str, Any]) -> Record:
    """The record in a row that has COLUMNS."""
    return Record(
        topic=row["topic"],
        partition=row["partition"],
        offset=row["offset"],
        key=row["key"],
        value=row["value"],
        headers=tuple(zip(row["header_names"], row["header_values"], strict=True)),
        timestamp=row["timestamp"],
    )
