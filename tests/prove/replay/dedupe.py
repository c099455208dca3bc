"""What has an effect of what comes: an event once, unless it was refused."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from uuid import UUID

from shared.contracts.envelope import Event
from shared.messaging.inbox import digest


@dataclass(slots=True)
class Seen:
    """The names of events that were taken."""

    names: set[UUID] = field(default_factory=set)

    def is_new(self, event: Event) -> bool:
        """Whether an event was not taken before; it is from now on."""
        name = digest(event)
        if name in self.names:
            return False
        self.names.add(name)
        return True

    def forget(self, events: Iterable[Event]) -> None:
        """Let refused events go: what comes again of them is judged again."""
        self.names.difference_update(map(digest, events))

    def new_ones(self, events: Iterable[Event]) -> Iterator[Event]:
        """The events that are new, one after another."""
        return (event for event in events if self.is_new(event))
