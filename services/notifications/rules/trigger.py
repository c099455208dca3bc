"""What starts journeys, and what they ask to send."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from services.notifications.rules.message import Channel
from shared.contracts.envelope import Cause

Json = Any
"""A JSON value."""


@dataclass(frozen=True, slots=True)
class TriggerEvent:
    """What an event, or an instant, offers to the journeys of one customer.

    `key` names it among the customer's triggers for ever. `facts` are what templates and conditions can use: JSON
    values by name, at most 16 KB. `at` is when it happened; in a request, when the send step fell due.
    """

    type: str
    customer_id: str
    key: str
    facts: Mapping[str, Json]
    at: datetime
    cause: Cause


@dataclass(frozen=True, slots=True)
class Request:
    """One send step of one run, to be made into messages.

    `run_id` is null for runs that are not stored. `step` is the path of the step, such as `0` or `3/bonus/0`. `mode`
    `first` sends on the first channel that may go, `all` on each. A marketing message is too old `not_after` the
    trigger's instant; null: as settings say.
    """

    trigger: TriggerEvent
    journey: str
    run_id: UUID | None
    step: str
    template: str
    channels: tuple[Channel, ...]
    mode: Literal["first", "all"]
    not_after: timedelta | None
