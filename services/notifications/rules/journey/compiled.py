"""The compiled form of a journey: its steps as a flat program."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Final, NamedTuple, Self

from services.notifications.rules.journey.document import (
    Always,
    BeforeTrigger,
    Condition,
    Digest,
    EventTrigger,
    FieldCondition,
    Happened,
    InactivityTrigger,
    JourneyDocument,
    LocaleIn,
    PointsAtLeast,
    Step,
    StopIf,
    TierIn,
    Wait,
    WaitFor,
    branches,
)

END: Final = -1
"""The place behind the last step."""


class Node(NamedTuple):
    """A step with its path, the place of the step after it, and the place at which each of its branches begins."""

    step: str
    document: Step
    next: int
    ways: Mapping[str, int]


@dataclass(frozen=True)
class Journey:
    """A version of a journey: `nodes` are its steps, `first` is the place of the first one."""

    version: int
    document: JourneyDocument
    nodes: tuple[Node, ...]
    first: int

    @classmethod
    def of(cls, version: int, document: JourneyDocument) -> Self:
        """Compile a version."""
        nodes: list[Node] = []
        first = _emit(document.steps, "", END, nodes)
        return cls(version, document, tuple(nodes), first)

    @property
    def enabled(self) -> bool:
        """Whether triggers start runs."""
        return self.document.enabled

    @cached_property
    def not_after(self) -> timedelta | None:
        """How long after its send step a marketing message may still be sent; None: as settings say."""
        hours = self.document.not_after_hours
        return None if hours is None else timedelta(hours=hours)

    @cached_property
    def places(self) -> Mapping[str, int]:
        """The place of each step by its path."""
        return {node.step: place for place, node in enumerate(self.nodes)}

    @cached_property
    def keeps_runs(self) -> bool:
        """Whether its runs are stored: they wait, or count for the next one."""
        return self.waits or not isinstance(self.document.again, Always)

    @cached_property
    def waits(self) -> bool:
        """Whether a step waits."""
        return any(isinstance(node.document, Wait | WaitFor | Digest) for node in self.nodes)

    @cached_property
    def looks(self) -> bool:
        """Whether it asks for the customer's tier, points, or preferred locale or time zone."""
        conditions = [*self.document.when, *(each for node in self.nodes for each in _conditions(node.document))]
        is_about_points = isinstance(self.document.trigger, BeforeTrigger)
        is_local = any(
            isinstance(node.document, Wait) and (node.document.days is not None or node.document.at is not None)
            for node in self.nodes
        )
        return (
            is_about_points
            or is_local
            or any(isinstance(each, TierIn | PointsAtLeast | LocaleIn) for each in conditions)
        )

    @cached_property
    def is_digest(self) -> bool:
        """Whether further triggers join a run that collects."""
        return isinstance(self.document.steps[0], Digest)

    @cached_property
    def paths(self) -> Sequence[str]:
        """The fields of the event that later steps compare."""
        conditions = [condition for node in self.nodes for condition in _conditions(node.document)]
        return sorted({each.path for each in conditions if isinstance(each, FieldCondition)})

    @cached_property
    def recorded(self) -> frozenset[str]:
        """The event types whose occurrences it has to know."""
        conditions = [*self.document.when, *(each for node in self.nodes for each in _conditions(node.document))]
        types = {each.type for each in conditions if isinstance(each, Happened)}
        types |= {node.document.type for node in self.nodes if isinstance(node.document, WaitFor)}
        if isinstance(self.document.trigger, InactivityTrigger):
            types.add(self.document.trigger.of)
        return frozenset(types)

    @cached_property
    def awaited(self) -> frozenset[str]:
        """The event types that a step waits for."""
        return frozenset(node.document.type for node in self.nodes if isinstance(node.document, WaitFor))

    @property
    def event_type(self) -> str | None:
        """The event type that starts it, if any."""
        trigger = self.document.trigger
        return trigger.type if isinstance(trigger, EventTrigger) else None


def _emit(steps: Sequence[Step], prefix: str, after: int, nodes: list[Node]) -> int:
    """Add steps, the last one first; returns the place of the first one, or `after` if there is none."""
    following = after
    for index in range(len(steps) - 1, -1, -1):
        step, path = steps[index], f"{prefix}{index}"
        ways = {way[-1]: _emit(inner, f"{path}/{way[-1]}/", following, nodes) for way, inner in branches(step)}
        nodes.append(Node(path, step, following, ways))
        following = len(nodes) - 1
    return following


def _conditions(step: Step) -> Sequence[Condition]:
    return step.when if isinstance(step, StopIf) else ()
