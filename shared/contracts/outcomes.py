"""The outcomes of an event that has no effect yet: a rule refuses it, or it waits for its subject."""

from dataclasses import dataclass

from shared.contracts.envelope import Event
from shared.contracts.reasons import Reason


@dataclass(frozen=True, slots=True)
class Refusal:
    """An event that a rule refuses; its record becomes a dead letter unchanged."""

    event: Event
    reason: Reason
    error: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """An event that waits; `about` (`order/4711`) is what it waits for, `natural_id` (`refund/9`) names the event."""

    about: str
    natural_id: str
    event: Event
