"""A batch: what is read from Kafka in one go, decoded, with the positions that it moves."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from shared import telemetry
from shared.contracts.envelope import Event, Record, decode
from shared.contracts.reasons import Malformed, Reason

_DECODED_AT_ONCE: Final = 4

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
    """Decode records, a few at a time: between them the statements of the batch before go on."""
    events: list[Event] = []
    malformed: list[Malformation] = []
    for index, record in enumerate(records, start=1):
        try:
            event = decode(record, wanted)
        except Malformed as error:
            malformed.append(Malformation(record, error.reason, error.detail, error.type))
        else:
            if event is None:
                telemetry.SKIPPED.labels(record.topic).inc()
            else:
                events.append(event)
        if index % _DECODED_AT_ONCE == 0:
            await asyncio.sleep(0)
    return events, malformed
