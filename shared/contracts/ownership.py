"""The owners of a record: which customers it is about, and when it happened, as far as any bytes tell.

A record that is no event of the contract can still hold personal data, so its customers have to be known.
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
"""The fields of an event's data that name a customer."""
_NAMED: Final = re.compile(rb'"(?:customer_id|friend_id)"\s*:\s*("(?:[^"\\]|\\.)*")')
_MOST_NAMED: Final = 100
"""How many customers are looked for in bytes that are not JSON."""


class Ownership(NamedTuple):
    """The customers that a record is about, and the time of its event; None where no credible time can be read."""

    customer_ids: tuple[str, ...]
    occurred_at: datetime | None


def of_record(record: Record) -> Ownership:
    """The customers that the key, the `subject` and the data name, whether or not they agree.

    In a value that is not JSON, fields that look like a customer's id are searched for. A time of more than
    24 hours after the record is not credible.
    """
    attributes, data = _read(record)
    found: list[str] = []
    for one in (_text(record.key), attributes.get("subject"), *_named(record, data)):
        if isinstance(one, str) and one not in found and check_id(one):
            found.append(one)
    return Ownership(tuple(found), _time(record, attributes.get("time")))


def _read(record: Record) -> tuple[Mapping[str, Any], object]:
    """The attributes and the data of a record, in whichever mode it is; no data where the value is not JSON."""
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
        named = cast("dict[str, object]", data)
        yield from (named.get(name) for name in _CUSTOMERS)
    elif record.value:
        for found, _ in zip(_NAMED.finditer(record.value), range(_MOST_NAMED), strict=False):
            try:
                yield json.loads(found[1].decode())
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
