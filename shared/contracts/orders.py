"""The history of an order: the purchase, its refunds, and which events about it have an effect.

Every service admits purchases, refunds and deliveries by this module, in the order of its log:

- The first event with a natural key has its effect. A refund or a delivery waits until its order is recorded; a refund
  that does not fit the order is refused then.
- Any later event with the key is a repeat, which has no effect and is counted. It is counted apart where its content
  differs: of a purchase anything but the coupon codes, of a refund anything, and of all of them the time.
- A purchase of a recorded order from another source is refused, so that two shops whose order ids collide lose nothing
  silently.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from hashlib import blake2b
from typing import Any, Final, NamedTuple, Protocol, Self

import msgspec

from shared.contracts.envelope import Event
from shared.contracts.kept import Fold
from shared.contracts.lines import pack_lines
from shared.contracts.outcomes import Refusal
from shared.contracts.reasons import Reason
from shared.contracts.refunds import Purchase, Refund, misfit, place_of
from shared.contracts.shop import PurchaseCompleted, PurchaseRefunded

OrderKey = tuple[str, str]
"""Customer id and order id: the natural key of an order."""

RefundKey = tuple[str, str, str]
"""Customer id, order id and refund id: the natural key of a refund."""

_ENCODER: Final = msgspec.json.Encoder()


class Content(NamedTuple):
    """The content of an event, reduced to what tells a plain repeat from one that differs.

    `digest` is a hash of everything that counts. It is None for events that were stored before digests were: of those
    only `time` and `money` (a decimal string) are compared.
    """

    time: datetime
    money: str
    digest: int | None

    def differs(self, other: "Content") -> bool:
        """Whether two events with one natural key have different content."""
        if self.digest is None or other.digest is None:
            return (self.time, Decimal(self.money)) != (other.time, Decimal(other.money))
        return self.digest != other.digest


def content_of_purchase(data: PurchaseCompleted, time: datetime) -> Content:
    """The content of a purchase event: everything but its natural key and its coupon codes."""
    # Stored digests are compared with new ones: a field that joins the contract may only count where it is present.
    fields = _ENCODER.encode((time, data.currency, data.total, data.channel, data.store_id))
    return Content(time, data.total, digest_of(fields + pack_lines(data.lines)))


def content_of_refund(refund: Refund) -> Content:
    """The content of a refund event: everything but its natural key."""
    lines = [(line.line_id, line.quantity, line.amount) for line in refund.lines]
    digest = digest_of(_ENCODER.encode((refund.time, refund.currency, refund.amount, lines)))
    return Content(refund.time, refund.amount, digest)


def digest_of(content: bytes) -> int:
    """A hash of 64 bits as PostgreSQL's bigint has it: two contents share one with a probability of 2**-64."""
    return int.from_bytes(blake2b(content, digest_size=8).digest(), signed=True)


@dataclass(frozen=True, slots=True)
class Order:
    """An order as bought, with what is recorded of its refunds.

    `refunds` are all recorded refunds; None where they were not read. `folded` is the state that a service stores of
    them beside the order, if it stores one. `event` is the purchase event of an order that is not stored yet, `digest`
    that of the content of one that is.
    """

    order_id: str
    source: str
    time: datetime
    purchase: Purchase
    refunds: tuple[Refund, ...] | None = ()
    folded: Mapping[str, Any] | None = None
    digest: int | None = None
    event: Event | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, event: Event) -> Self:
        """The order that a purchase event announces; it has no refunds."""
        data = event.data
        assert isinstance(data, PurchaseCompleted)
        return cls(data.order_id, event.source, event.time, Purchase.of(data), event=event)

    @property
    def content(self) -> Content:
        """The content of the purchase event."""
        if self.event is None:
            return Content(self.time, self.purchase.total, self.digest)
        assert isinstance(self.event.data, PurchaseCompleted)
        return content_of_purchase(self.event.data, self.time)

    @property
    def total(self) -> Fraction:
        """The money of the order as bought."""
        return Fraction(self.purchase.total)

    def effective_at(self, refund: Refund) -> datetime:
        """The time from which a refund counts: never before the order's own, whatever the refund's clock said."""
        return max(self.time, refund.time)

    def fold(self) -> Fold:
        """What is kept of the order.

        Raises:
            UnreadRefundsError: the refunds were not read.
        """
        fold = Fold(self.purchase)
        for refund in self.refunds_in_order():
            fold.put(refund)
        return fold

    def kept_over_time(self) -> Iterator[tuple[datetime, Fraction]]:
        """The money that is kept from an instant on, for each instant at which a refund counts.

        Raises:
            UnreadRefundsError: the refunds were not read.
        """
        fold = Fold(self.purchase)
        for refund in self.refunds_in_order():
            fold.put(refund)
            yield self.effective_at(refund), fold.total

    def taken(self) -> dict[str, Fraction]:
        """The money that each refund takes of what was kept before it, by refund id, in the order in which they count.

        Raises:
            UnreadRefundsError: the refunds were not read.
        """
        fold = Fold(self.purchase)
        taken: dict[str, Fraction] = {}
        left = fold.total
        for refund in self.refunds_in_order():
            money = fold.add(refund).taken
            # Rounding (see `Fold`) can leave a remainder: the refund that takes the last of the money takes it too.
            money = left if fold.gone else money
            taken[refund.refund_id] = money
            left -= money
        return taken

    def refunds_in_order(self) -> list[Refund]:
        """The refunds in the order in which they count.

        Raises:
            UnreadRefundsError: the refunds were not read.
        """
        if self.refunds is None:
            raise UnreadRefundsError(self.order_id)
        return sorted(self.refunds, key=place_of)


class UnreadRefundsError(LookupError):
    """The refunds of an order are needed and were not read; the argument is the order's id."""


class Verdict(Enum):
    """The effect of an event about an order that is not refused."""

    NEW = "new"
    """Its natural key is new: it has its effect."""
    REPEAT = "repeat"
    DIFFERING_REPEAT = "differing_repeat"
    WAITS = "waits"
    """Its order is not recorded yet."""


class Recorded(Protocol):
    """An order as a service records it: the source and the content of its purchase event."""

    @property
    def source(self) -> str:
        """The source of the purchase event."""
        ...

    @property
    def content(self) -> Content:
        """The content of the purchase event."""
        ...


def admit_purchase(event: Event, recorded: Recorded | None) -> Verdict | Refusal:
    """Admit a purchase; `recorded` is the order of its natural key, None where there is none."""
    if recorded is None:
        return Verdict.NEW
    data = event.data
    assert isinstance(data, PurchaseCompleted)
    if event.source != recorded.source:
        before = f"order {data.order_id} of this customer came from {recorded.source} before"
        return Refusal(event, Reason.ORDER_CONFLICT, f"source: {before}, not from {event.source}")
    return _repeat(recorded.content, content_of_purchase(data, event.time))


def admit_refund(
    event: Event, refund: Refund, purchase: Purchase | None, recorded: Content | None
) -> Verdict | Refusal:
    """Admit a refund event, which announces `refund`.

    `purchase` is its order, None where that is not recorded; `recorded` is the content of the first event with its
    natural key, None where there is none.
    """
    if purchase is None:
        return Verdict.WAITS
    if recorded is not None:
        return _repeat(recorded, content_of_refund(refund))
    problem = misfit(purchase, refund)
    return Verdict.NEW if problem is None else Refusal(event, *problem)


def admit_delivery(event: Event, delivered_at: datetime | None, *, is_ordered: bool) -> Verdict:
    """Admit a delivery of an order that is recorded or not; `delivered_at` is the time of the first one."""
    if not is_ordered:
        return Verdict.WAITS
    if delivered_at is None:
        return Verdict.NEW
    return Verdict.REPEAT if event.time == delivered_at else Verdict.DIFFERING_REPEAT


def _repeat(first: Content, again: Content) -> Verdict:
    return Verdict.DIFFERING_REPEAT if first.differs(again) else Verdict.REPEAT


def key_of(event: Event) -> OrderKey:
    """The natural key of the order that a purchase or refund event is about."""
    data = event.data
    assert isinstance(data, PurchaseCompleted | PurchaseRefunded)
    return event.customer_id, data.order_id


def about_order(order_id: str) -> str:
    """`Waiting.about` of an event that arrived before its order."""
    return f"order/{order_id}"
