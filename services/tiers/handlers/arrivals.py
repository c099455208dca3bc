"""What arrives for a customer: an event, or what a person decides."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Self

from services.tiers.rules.admission import Step
from services.tiers.rules.judging.state import Assignment
from services.tiers.rules.judging.taking import reason_of
from services.tiers.rules.metrics import Change
from shared.contracts.envelope import Cause


class Arrival(NamedTuple):
    """What an event, or a person, brings for a customer; `id` and `source` are those of the event or the request."""

    cause: Cause
    source: str
    id: str
    time: datetime
    changes: Sequence[Change] = ()
    assignments: Sequence[Assignment] = ()
    actor: str | None = None
    note: str | None = None
    marked: tuple[datetime, str] | None = None
    """Of what arrived earlier and has to be judged yet: the first instant, and the reason."""

    @classmethod
    def of(cls, step: Step) -> Self:
        """What an event brings."""
        event = step.event
        return cls(Cause.of(event), event.source, event.id, event.time, step.changes)

    @property
    def first(self) -> datetime:
        """The first instant at which it changes anything."""
        if self.marked:
            return self.marked[0]
        return min(happening.at for happening in (*self.changes, *self.assignments))

    @property
    def last(self) -> datetime:
        """The last instant at which it changes anything."""
        return max(happening.at for happening in (*self.changes, *self.assignments))

    @property
    def reason(self) -> str:
        """The reason of what it changes in the past: by hand, what was taken back, or the metric that grew."""
        if self.marked:
            return self.marked[1]
        if self.assignments:
            return "assigned"
        if any(change.is_taking for change in self.changes):
            return reason_of(self.changes)
        return self.changes[0].metric
