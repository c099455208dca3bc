"""The state of a run: one customer's way through a version of a journey."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

import msgspec

from services.notifications.rules.trigger import Json, TriggerEvent


class RunState(StrEnum):
    """The state of a run."""

    WAITING = "waiting"
    """It waits in a step."""
    DONE = "done"
    """Its last step is over."""
    STOPPED = "stopped"
    """It ended before its last step."""
    JOINED = "joined"
    """It is no run: the trigger joined the digest of another run."""


class Ending(StrEnum):
    """Why a run stopped."""

    STOP_IF = "stop_if"
    """The conditions of a step `stop_if` held."""
    JOURNEY_STOPPED = "journey_stopped"
    """The journey is disabled, or what the run is about is over."""
    HOLDOUT = "holdout"
    """The customer is held out of an experiment."""


class Trace(NamedTuple):
    """What a step did: its path and kind, the instant at which it fell due, and the outcome."""

    step: str
    kind: str
    at: datetime
    outcome: str


class Item(NamedTuple):
    """A trigger that a digest collected: its time and its facts."""

    at: datetime
    facts: Mapping[str, Json]


class Run(msgspec.Struct, frozen=True, gc=False):
    """A run.

    `trigger` started it, and `fields` are those fields of the trigger's event that later steps compare. Events after
    `since` count as having happened in the run. `step` is the path of the step at hand, which fell due at
    `fell_due_at`. A run that waits does so until `due_at`, or until an event of the type `awaits`. A digest has
    collected `count` triggers, the oldest of them in `items`.
    """

    id: UUID
    customer_id: str
    journey: str
    version: int
    trigger: TriggerEvent
    since: datetime
    step: str
    fell_due_at: datetime
    fields: Mapping[str, Json] = msgspec.field(default_factory=dict[str, Json])
    due_at: datetime | None = None
    awaits: str | None = None
    state: RunState = RunState.WAITING
    reason: Ending | None = None
    items: tuple[Item, ...] = ()
    count: int = 0
    trace: tuple[Trace, ...] = ()

    @property
    def started_at(self) -> datetime:
        """When the run began: the time of its trigger."""
        return self.trigger.at


class Exposure(NamedTuple):
    """A customer reached a split, for the first time or again; a null arm: held out."""

    experiment: str
    customer_id: str
    arm: str | None
    at: datetime
