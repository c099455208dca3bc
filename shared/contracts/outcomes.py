"""What can become of an event besides its effect: a rule refuses it, or it waits for what it is about."""

from dataclasses import dataclass

from shared.contracts.envelope import Event
from shared.contracts.reasons import Reason


@dataclass(frozen=True, slots=True)
class Refusal:
    """An event that a rule refused: it goes to the dead letters as it came."""

    event: Event
    reason: Reason
    error: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """An event that waits; `about` and `natural_id` are `kind/id` (`order/4711`, `refund/9`)."""

    about: str
    natural_id: str
    event: Event
