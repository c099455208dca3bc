"""The value types that documents have in common, and the base of their models."""

import re
from datetime import UTC, date, datetime, time
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from shared.contracts.values import parse_instant

_DECIMAL: Final = r"^[0-9]{1,12}(?:\.[0-9]{1,4})?$"
_RATE: Final = r"^[0-9]{1,12}(?:\.[0-9]{1,12})?$"


def _above_zero(text: str) -> str:
    if not text.strip("0."):
        raise ValueError("must be greater than 0")
    return text


Amount = Annotated[
    str,
    StringConstraints(pattern=_DECIMAL),
    Field(description="A decimal string with at most 4 decimals.", examples=["1.00"]),
]
PositiveAmount = Annotated[Amount, AfterValidator(_above_zero)]
Rate = Annotated[
    str,
    StringConstraints(pattern=_RATE),
    AfterValidator(_above_zero),
    Field(description="A decimal string greater than 0 with at most 12 decimals.", examples=["0.000061"]),
]
Locale = Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*$", max_length=35)]


def _describe_kind(schema: dict[str, Any]) -> None:
    if kind := schema.get("properties", {}).get("kind"):
        kind["description"] = kind.get("description") or "Selects this variant; the other fields belong to it."


class Part(BaseModel):
    """A part of a document: immutable, and closed to unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True, json_schema_extra=_describe_kind)


def moment_of(text: str, zone: ZoneInfo) -> datetime:
    """The instant that a document names: as a day (its 00:00), a local time, or an RFC 3339 instant.

    Raises:
        ValueError: the text names none.
    """
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
        return _in_utc(datetime.combine(date.fromisoformat(text), time(), zone))
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(?::\d{2})?", text, re.ASCII):
        return _in_utc(datetime.fromisoformat(text).replace(tzinfo=zone))
    return parse_instant(text)


def _in_utc(local: datetime) -> datetime:
    """The same instant in UTC, since Python compares two times of one zone by their clocks, not as instants."""
    try:
        return local.astimezone(UTC)
    except OverflowError:  # the first or the last day of the calendar
        return datetime.min.replace(tzinfo=UTC) if local.year == 1 else datetime.max.replace(tzinfo=UTC)
