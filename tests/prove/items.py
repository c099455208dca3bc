"""What is published: records that know what they are meant to be."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from pydantic_core import to_json

from tests.prove import malformed

STRUCTURED: Final = ("content-type", b"application/cloudevents+json")
MARK: Final = "prove"
"""The header that carries an item's number: it tells a record of the log from all others, and decides nothing."""

Headers = tuple[tuple[str, bytes], ...]


class Role(StrEnum):
    """What a record is."""

    EVENT = "event"
    DUPLICATE = "duplicate"
    """The same event again: the same id."""
    REPEAT = "repeat"
    """The same thing told again: another id, the same natural key."""
    MALFORMED = "malformed"
    """No event of the contract."""
    UNFIT = "unfit"
    """An event that a rule may refuse: another shop's order id, a refund that does not fit, a code of nobody."""


class Turn(StrEnum):
    """When a record comes."""

    IN_ORDER = "in order"
    DISPLACED = "displaced"
    """After a later event of the same customer."""
    LATE = "late"
    """Days after it happened."""


@dataclass(frozen=True, slots=True)
class Told:
    """An event as its shop tells it; `at` is seconds after the beginning of the run (below 0: before)."""

    topic: str
    type: str
    id: str
    source: str
    at: float
    data: Mapping[str, Any]

    @property
    def customer(self) -> str:
        """Whose it is."""
        customer: str = self.data["customer_id"]
        return customer


@dataclass(frozen=True, slots=True)
class Item:
    """A record to be published, as the `number`th; `flaw` names what is wrong with a malformed one."""

    number: int
    told: Told
    role: Role = Role.EVENT
    turn: Turn = Turn.IN_ORDER
    flaw: str | None = None

    def record(self, begin: datetime) -> tuple[bytes | None, bytes | None, Headers]:
        """Key, value and headers, for a run that begins at an instant."""
        told = self.told
        event = {
            "specversion": "1.0",
            "id": told.id,
            "source": told.source,
            "type": told.type,
            "time": (begin + timedelta(seconds=told.at)).isoformat().replace("+00:00", "Z"),
            "subject": told.customer,
            "data": told.data,
        }
        key: bytes | None = told.customer.encode()
        value: bytes | None
        if self.flaw is None:
            value = to_json(event)
        else:
            key, value = malformed.FLAWS[self.flaw].spoil(key, event)
        return key, value, (STRUCTURED, (MARK, str(self.number).encode()))
