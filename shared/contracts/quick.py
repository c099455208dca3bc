"""The common case, quickly: a well-formed purchase in structured mode, at half the cost of the models.

Only what the models would take as it is comes through here, and it comes out the same; for everything else
`read` answers None, and the models decide, and say what is wrong. A property holds the two against each other.
"""

import re
from decimal import Decimal
from typing import Any, Final

import msgspec

from shared.contracts.shop import Line, PurchaseCompleted

PURCHASE: Final = "shop.purchase.completed.v1"

_MOST_LINES: Final = 10_000
_MOST_TEXT: Final = 10_000
_MOST_COUNT: Final = 10**12


class Envelope(msgspec.Struct):
    """A structured-mode CloudEvent whose data is still JSON."""

    specversion: str
    id: str
    source: str
    type: str
    time: str
    data: msgspec.Raw
    subject: str | None = None
    correlationid: Any = None
    causationid: Any = None
    traceparent: Any = None


class _Purchase(msgspec.Struct):
    customer_id: str
    order_id: str
    currency: str
    total: str
    lines: tuple[Line, ...] | None = ()
    channel: str | None = None
    store_id: str | None = None
    coupon_codes: tuple[str, ...] | None = None


# One expression over all strings of a purchase, each ended by NUL (which none of them may hold): a match for each
# string by itself costs four times as much. It takes less than the models do, never more.
_ID: Final = r"[^./\x00-\x1f\x7f-\x9f][^/\x00-\x1f\x7f-\x9f]{0,127}\x00"
_MONEY: Final = r"[0-9]{1,12}(?:\.[0-9]{1,4})?\x00"
_STRINGS: Final = re.compile(rf"{_ID}{_ID}[A-Z]{{3}}\x00{_MONEY}(?:{_ID}{_ID}{_MONEY})*")
_QUANTITY: Final = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")

_ENVELOPES: Final = msgspec.json.Decoder(Envelope)
_PURCHASES: Final = msgspec.json.Decoder(_Purchase)


def read(value: bytes) -> tuple[Envelope, PurchaseCompleted] | None:
    """The purchase in a structured-mode record, or None where the models have to look at it."""
    try:
        envelope = _ENVELOPES.decode(value)
        if envelope.type != PURCHASE or envelope.specversion != "1.0":
            return None
        found = _PURCHASES.decode(envelope.data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    lines = found.lines or ()
    if not _strings_fit(found, lines) or (lines and not _lines_fit(found, lines)):
        return None
    return envelope, _purchase(found, lines)


def _strings_fit(found: _Purchase, lines: tuple[Line, ...]) -> bool:
    strings = f"{found.customer_id}\x00{found.order_id}\x00{found.currency}\x00{found.total}\x00"
    texts = f"{found.channel}{found.store_id}"
    if lines:
        strings += "".join([f"{line.line_id}\x00{line.sku}\x00{line.amount}\x00" for line in lines])
        texts += "".join([line.category for line in lines if line.category is not None])
    if found.coupon_codes:
        if len(found.coupon_codes) > 100:
            return False
        texts += "".join(found.coupon_codes)
    return "\x00" not in texts and len(texts) <= _MOST_TEXT and _STRINGS.fullmatch(strings) is not None


def _lines_fit(found: _Purchase, lines: tuple[Line, ...]) -> bool:
    for line in lines:
        quantity = line.quantity
        if isinstance(quantity, int):
            if not 0 <= quantity < _MOST_COUNT:
                return False
        elif _QUANTITY.fullmatch(quantity) is None:
            return False
    return (
        len(lines) <= _MOST_LINES
        and len({line.line_id for line in lines}) == len(lines)
        and sum(map(Decimal, [line.amount for line in lines])) == Decimal(found.total)
    )


_FIELDS: Final = set(PurchaseCompleted.model_fields)


def _purchase(found: _Purchase, lines: tuple[Line, ...]) -> PurchaseCompleted:
    """The model of what was checked, made as pydantic makes it after its checks."""
    made = PurchaseCompleted.__new__(PurchaseCompleted)
    put = object.__setattr__
    put(
        made,
        "__dict__",
        {
            "customer_id": found.customer_id,
            "order_id": found.order_id,
            "currency": found.currency,
            "total": found.total,
            "lines": lines,
            "channel": found.channel,
            "store_id": found.store_id,
            "coupon_codes": found.coupon_codes or (),
        },
    )
    put(made, "__pydantic_fields_set__", _FIELDS)
    put(made, "__pydantic_extra__", None)
    put(made, "__pydantic_private__", None)
    return made
