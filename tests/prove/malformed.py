"""Ways to make a record malformed, each with the expected reason of its dead letter."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from shared.contracts.reasons import Reason

Spoilt = tuple[bytes | None, bytes | None]
Spoil = Callable[[bytes | None, dict[str, Any]], Spoilt]


@dataclass(frozen=True, slots=True)
class Flaw:
    """A way to spoil an event, and the reason of its dead letter; `only` is the only type that it applies to."""

    spoil: Spoil
    reason: Reason
    only: str | None = None


def _json(event: object) -> bytes:
    return json.dumps(event).encode()


def _without(name: str) -> Spoil:
    return lambda key, event: (key, _json({field: value for field, value in event.items() if field != name}))


def _with(name: str, value: object) -> Spoil:
    return lambda key, event: (key, _json(event | {name: value}))


def _data(**fields: object) -> Spoil:
    return lambda key, event: (key, _json(event | {"data": dict(event["data"]) | fields}))


def _without_customer(key: bytes | None, event: dict[str, Any]) -> Spoilt:
    data = {name: value for name, value in event["data"].items() if name != "customer_id"}
    return key, _json(event | {"data": data})


def _ahead(key: bytes | None, event: dict[str, Any]) -> Spoilt:
    return key, _json(event | {"time": (datetime.fromisoformat(event["time"]) + timedelta(days=30)).isoformat()})


def _cut_off(key: bytes | None, event: dict[str, Any]) -> Spoilt:
    return key, _json(event)[:-7]


def _misplaced_line(key: bytes | None, event: dict[str, Any]) -> Spoilt:
    lines = [{"line_id": "1", "sku": "s1", "quantity": 1, "amount": "0.01"}]
    return key, _json(event | {"data": dict(event["data"]) | {"total": "10.00", "lines": lines}})


PURCHASE: Final = "shop.purchase.completed.v1"

FLAWS: Final[dict[str, Flaw]] = {
    "cut off": Flaw(_cut_off, Reason.NOT_JSON),
    "no value": Flaw(lambda key, _event: (key, None), Reason.NOT_JSON),
    "empty": Flaw(lambda key, _event: (key, b""), Reason.NOT_JSON),
    "an array": Flaw(lambda key, event: (key, _json([event])), Reason.NOT_A_CLOUDEVENT),
    "null": Flaw(lambda key, _event: (key, b"null"), Reason.NOT_A_CLOUDEVENT),
    "another specversion": Flaw(_with("specversion", "0.3"), Reason.NOT_A_CLOUDEVENT),
    "no data": Flaw(_without("data"), Reason.MISSING_FIELD),
    "no id": Flaw(_without("id"), Reason.MISSING_FIELD),
    "no customer": Flaw(_without_customer, Reason.MISSING_FIELD),
    "no offset": Flaw(_with("time", "2026-05-01T10:00:00"), Reason.BAD_FIELD),
    "another subject": Flaw(_with("subject", "somebody-else"), Reason.BAD_FIELD),
    "a customer with a slash": Flaw(_data(customer_id="a/b"), Reason.BAD_FIELD),
    "from the future": Flaw(_ahead, Reason.TIME_IN_FUTURE),
    "another key": Flaw(lambda _key, event: (b"somebody-else", _json(event)), Reason.KEY_MISMATCH),
    "no key": Flaw(lambda _key, event: (None, _json(event)), Reason.KEY_MISMATCH),
    "money as a number": Flaw(_data(total=12.5), Reason.BAD_FIELD, PURCHASE),
    "lines that do not add up": Flaw(_misplaced_line, Reason.LINES_DO_NOT_ADD_UP, PURCHASE),
    "five hundred stars": Flaw(_data(rating=500), Reason.BAD_FIELD, "shop.review.published.v1"),
    "a score off the scale": Flaw(_data(score=11), Reason.BAD_FIELD, "shop.survey.answered.v1"),
    "no zone of the earth": Flaw(_data(time_zone="Mars/Base"), Reason.BAD_FIELD, "shop.customer.updated.v1"),
}
