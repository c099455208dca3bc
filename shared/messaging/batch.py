"""A batch: what is read from Kafka in one go, decoded, with the positions that it moves."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared import telemetry
from shared.contracts.envelope import Event, Record, decode
from shared.contracts.reasons import Malformed, Reason
from shared.turns import map_in_turns

Partition = tuple[str, int]
"""A topic and the number of a partition of it."""


@dataclass(frozen=True, slots=True)
class Span:
    """A partition's move from the offset `start` (None: nothing was handled yet) to `end`."""

    start: int | None
    end: int


@dataclass(frozen=True, slots=True)
class Malformation:
    """A record that is not an event of the contract, and why."""

    record: Record
    reason: Reason
    error: str
    type: str | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of some partitions; `generation` tells whether they were rewound or lost since."""

    spans: dict[Partition, Span]
    events: list[Event]
    malformed: list[Malformation]
    generation: int

    @property
    def size(self) -> int:
        """How many records have an effect or a dead letter."""
        return len(self.events) + len(self.malformed)


async def read(records: Sequence[Record], wanted: frozenset[str]) -> tuple[list[Event], list[Malformation]]:
    """Decode records; between them the statements of the batch before go on."""
    events: list[Event] = []
    malformed: list[Malformation] = []
    for found in await map_in_turns(lambda record: _decode(record, wanted), records):
        match found:
            case Event():
                events.append(found)
            case Malformation():
                malformed.append(found)
            case None:
                pass
    return events, malformed


def _decode(record: Record, wanted: frozenset[str]) -> Event | Malformation | None:
    try:
        event = decode(record, wanted)
    except Malformed as error:
        return Malformation(record, error.reason, error.detail, error.type)
    if event is None:
        telemetry.SKIPPED.labels(record.topic).inc()
    return event
