"""Published records with their intended role."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from pydantic_core import to_json

from tests.prove import malformed

STRUCTURED: Final = ("content-type", b"application/cloudevents+json")
MARK: Final = "prove"
"""The header with an item's number, which identifies a record in the log and has no other effect."""

Headers = tuple[tuple[str, bytes], ...]


class Role(StrEnum):
    """The kind of a record."""

    EVENT = "event"
    DUPLICATE = "duplicate"
    """A repeat with the same id."""
    REPEAT = "repeat"
    """A repeat of the natural key under another id."""
    MALFORMED = "malformed"
    """Not an event of the contract."""
    UNFIT = "unfit"
    """An event that a rule may refuse: an order id of another shop, a refund that does not match, an unknown code."""


class Turn(StrEnum):
    """The place of a record in the history."""

    IN_ORDER = "in order"
    DISPLACED = "displaced"
    """After a later event of the same customer."""
    LATE = "late"
    """Days after its event time."""


@dataclass(frozen=True, slots=True)
class ShopEvent:
    """An event of a shop; `at` is in seconds since the start of the run, and may be negative."""

    topic: str
    type: str
    id: str
    source: str
    at: float
    data: Mapping[str, Any]

    @property
    def customer(self) -> str:
        """The customer."""
        customer: str = self.data["customer_id"]
        return customer


@dataclass(frozen=True, slots=True)
class Item:
    """The `number`th record to publish; `flaw` names the fault of a malformed one."""

    number: int
    event: ShopEvent
    role: Role = Role.EVENT
    turn: Turn = Turn.IN_ORDER
    flaw: str | None = None

    def record(self, begin: datetime) -> tuple[bytes | None, bytes | None, Headers]:
        """Key, value and headers, for a run that begins at an instant."""
        event = self.event
        envelope = {
            "specversion": "1.0",
            "id": event.id,
            "source": event.source,
            "type": event.type,
            "time": (begin + timedelta(seconds=event.at)).isoformat().replace("+00:00", "Z"),
            "subject": event.customer,
            "data": event.data,
        }
        key: bytes | None = event.customer.encode()
        value: bytes | None
        if self.flaw is None:
            value = to_json(envelope)
        else:
            key, value = malformed.FLAWS[self.flaw].spoil(key, envelope)
        return key, value, (STRUCTURED, (MARK, str(self.number).encode()))
