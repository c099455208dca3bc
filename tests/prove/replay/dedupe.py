"""Deduplicates events as the inbox does: once, unless refused."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from uuid import UUID

from shared.contracts.envelope import Event
from shared.messaging.inbox import digest


@dataclass(slots=True)
class Seen:
    """Digests of applied events."""

    names: set[UUID] = field(default_factory=set)

    def is_new(self, event: Event) -> bool:
        """Whether an event is new; it counts as applied afterwards."""
        name = digest(event)
        if name in self.names:
            return False
        self.names.add(name)
        return True

    def forget(self, events: Iterable[Event]) -> None:
        """Remove refused events, whose repeats are judged again."""
        self.names.difference_update(map(digest, events))

    def new_ones(self, events: Iterable[Event]) -> Iterator[Event]:
        """The new events among events."""
        return (event for event in events if self.is_new(event))
