"""A purchase as plain values: to be handed from process to process, or kept, without making its lines.

A basket has many lines, and most of what is decided about it never looks at one.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import starmap
from operator import attrgetter
from typing import Any, Final, cast, overload

import msgspec

from shared.contracts.envelope import Event, Record
from shared.contracts.quick import PURCHASE, made
from shared.contracts.shop import Line, PurchaseCompleted

_LINE: Final = attrgetter("line_id", "sku", "quantity", "amount", "category")


class PackedLines(Sequence[Line]):
    """The lines of an order as JSON (an array of arrays), made into lines when somebody asks for one."""

    __slots__ = ("_lines", "json")

    def __init__(self, json: bytes) -> None:
        self.json = json
        self._lines: tuple[Line, ...] | None = None

    def unpacked(self) -> tuple[Line, ...]:
        """The lines."""
        if self._lines is None:
            self._lines = tuple(starmap(Line, msgspec.json.decode(self.json)))
        return self._lines

    def __len__(self) -> int:
        return len(self.unpacked())

    def __bool__(self) -> bool:
        return self.json != b"[]"

    def __iter__(self) -> Iterator[Line]:
        return iter(self.unpacked())

    @overload
    def __getitem__(self, index: int) -> Line: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Line, ...]: ...
    def __getitem__(self, index: int | slice) -> Line | tuple[Line, ...]:
        return self.unpacked()[index]

    def __eq__(self, other: object) -> bool:
        return self.unpacked() == (other.unpacked() if isinstance(other, PackedLines) else other)

    def __hash__(self) -> int:
        return hash(self.unpacked())

    def __repr__(self) -> str:
        return repr(self.unpacked())


def pack_lines(lines: Sequence[Line]) -> bytes:
    """The lines as `PackedLines` has them."""
    return lines.json if isinstance(lines, PackedLines) else msgspec.json.encode(list(map(_LINE, lines)))


Flat = tuple[Any, ...]
"""An event of a purchase as plain values."""


def flatten(event: Event) -> Flat:
    """The event of a purchase, without its record, as values that `marshal` takes."""
    data = cast("PurchaseCompleted", event.data)
    return (
        event.id,
        event.source,
        event.time.isoformat(),
        event.correlation_id,
        event.causation_id,
        event.traceparent,
        data.customer_id,
        data.order_id,
        data.currency,
        data.total,
        pack_lines(data.lines),
        data.channel,
        data.store_id,
        data.coupon_codes,
    )


def restore(flat: Flat, record: Record) -> Event:
    """The event again; its lines are `PackedLines`."""
    id_, source, time, correlation_id, causation_id, traceparent, *fields = flat
    customer_id, order_id, currency, total, lines, channel, store_id, coupon_codes = fields
    data = made(
        {
            "customer_id": customer_id,
            "order_id": order_id,
            "currency": currency,
            "total": total,
            "lines": PackedLines(lines) if lines != b"[]" else (),
            "channel": channel,
            "store_id": store_id,
            "coupon_codes": coupon_codes,
        }
    )
    moment = datetime.fromisoformat(time)
    return Event(id_, source, PURCHASE, moment, customer_id, data, correlation_id, causation_id, traceparent, record)
