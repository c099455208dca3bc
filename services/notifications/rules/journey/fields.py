"""Compares fields of events with the values that a document names."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Final, cast

from pydantic import BaseModel

from services.notifications.rules.journey.document import FieldCondition, Op
from shared.contracts.values import format_instant

MISSING: Final = object()
"""The value of a field that is absent or null."""

_LONGEST_NUMBER: Final = 40


def look_up(source: object, path: str) -> object:
    """The value at a path through objects, mappings and lists; `MISSING` where there is none.

    A mapping may have the whole path as a key.
    """
    if isinstance(source, Mapping) and path in source:
        return _value(cast("Mapping[str, object]", source)[path])
    found = source
    for step in path.split("."):
        found = _step(found, step)
        if found is None:
            return MISSING
    return _value(found)


def matches(condition: FieldCondition, value: object) -> bool:
    """Whether a value of an event is as the condition wants it."""
    op, wanted = condition.op, condition.value
    if op == "exists":
        return (value is not MISSING) is (wanted is True)
    if value is MISSING:
        return op == "ne"
    if op == "in":
        return isinstance(wanted, tuple) and any(_equal(value, each) for each in wanted)
    if op == "eq":
        return _equal(value, wanted)
    return not _equal(value, wanted) if op == "ne" else _ordered(op, value, wanted)


def _step(source: object, step: str) -> object:
    if isinstance(source, Mapping):
        return cast("Mapping[str, object]", source).get(step)
    if isinstance(source, Sequence) and not isinstance(source, str):
        items = cast("Sequence[object]", source)
        return items[int(step)] if step.isascii() and step.isdigit() and int(step) < len(items) else None
    if isinstance(source, BaseModel):
        # Of a model its fields alone; `from` is a keyword of Python, so the field has a line behind it.
        fields = type(source).model_fields
        name = step if step in fields else f"{step}_"
        return cast("object", getattr(source, name)) if name in fields else None
    if hasattr(type(source), "__dataclass_fields__"):
        return cast("object", getattr(source, step)) if step in type(source).__dataclass_fields__ else None  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownArgumentType]
    return None


def _value(value: object) -> object:
    if value is None:
        return MISSING
    if isinstance(value, datetime):
        return format_instant(value)
    return value.isoformat() if isinstance(value, date) else value


def _equal(value: object, wanted: object) -> bool:
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    if value == wanted:
        return True
    number, other = _number(value), _number(wanted)
    return number is not None and number == other


def _ordered(op: Op, value: object, wanted: object) -> bool:
    left: object = _number(value)
    right: object = _number(wanted)
    if left is None or right is None:
        if not (isinstance(value, str) and isinstance(wanted, str)):
            return False
        left, right = value, wanted  # dates and instants in UTC are in the order of their texts
    match op:
        case "lt":
            return left < right  # pyright: ignore[reportOperatorIssue, reportUnknownVariableType]
        case "lte":
            return left <= right  # pyright: ignore[reportOperatorIssue, reportUnknownVariableType]
        case "gt":
            return left > right  # pyright: ignore[reportOperatorIssue, reportUnknownVariableType]
        case _:
            return left >= right  # pyright: ignore[reportOperatorIssue, reportUnknownVariableType]


def _number(value: object) -> Decimal | None:
    if isinstance(value, str):
        return _number_of(value)
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        number = Decimal(repr(value))
        return number if number.is_finite() else None
    return None


@lru_cache(maxsize=4_096)  # the values of documents are compared with each event
def _number_of(text: str) -> Decimal | None:
    if len(text) > _LONGEST_NUMBER or not text.isascii() or text[:1] not in "-0123456789":
        return None
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() and "e" not in text.lower() else None
