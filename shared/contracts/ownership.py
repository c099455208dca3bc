"""The customers and the time of any record, even of one that is not a valid event.

An invalid record can hold personal data too, so an erasure has to find it.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Final, NamedTuple, cast

from shared.contracts.envelope import MOST_AHEAD, STRUCTURED, Record, check_id
from shared.contracts.values import parse_instant

_CUSTOMERS: Final = ("customer_id", "friend_id")
"""The fields of an event's data that hold a customer id."""
_NAMED: Final = re.compile(rb'"(?:customer_id|friend_id)"\s*:\s*("(?:[^"\\]|\\.)*")')
_MOST_NAMED: Final = 100
"""The maximum number of customer ids that are searched for in bytes that are not JSON."""


class Ownership(NamedTuple):
    """The customers that a record is about, and the time of its event; None where it has no credible time."""

    customer_ids: tuple[str, ...]
    occurred_at: datetime | None


def of_record(record: Record) -> Ownership:
    """The customers in the key, the `subject` and the data, whether or not they agree.

    A value that is not JSON is searched for fields that look like customer ids. A time more than 24 hours after the
    record's own is not credible.
    """
    attributes, data = _read(record)
    customer_ids: list[str] = []
    for named in (_text(record.key), attributes.get("subject"), *_named(record, data)):
        if isinstance(named, str) and named not in customer_ids and check_id(named):
            customer_ids.append(named)
    return Ownership(tuple(customer_ids), _time(record, attributes.get("time")))


def _read(record: Record) -> tuple[Mapping[str, Any], object]:
    """The attributes and the data of a record in either mode; no data where the value is not JSON."""
    headers = dict(record.headers)
    value: object = None
    with suppress(ValueError, RecursionError):
        value = json.loads((record.value or b"").decode())
    structured = (headers.get(b"content-type") or b"").lower().startswith(STRUCTURED)
    binary = {_text(name[3:]) or "": _text(content) for name, content in headers.items() if name.startswith(b"ce_")}
    if not structured and binary:
        return binary, value
    if isinstance(value, dict):
        envelope = cast("dict[str, Any]", value)
        return envelope, envelope.get("data")
    return {}, value


def _named(record: Record, data: object) -> Iterator[object]:
    if isinstance(data, dict):
        fields = cast("dict[str, object]", data)
        yield from (fields.get(name) for name in _CUSTOMERS)
    elif record.value:
        for match, _ in zip(_NAMED.finditer(record.value), range(_MOST_NAMED), strict=False):
            try:
                yield json.loads(match[1].decode())
            except ValueError:
                continue


def _time(record: Record, time: object) -> datetime | None:
    if not isinstance(time, str):
        return None
    try:
        moment = parse_instant(time)
    except ValueError:
        return None
    return moment if moment - record.timestamp <= MOST_AHEAD else None


def _text(content: bytes | None) -> str | None:
    try:
        return None if content is None else content.decode()
    except UnicodeDecodeError:
        return None
