"""A batch: what is read from Kafka in one go, decoded, with the positions that it moves."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

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

    def halves(self) -> "tuple[Batch, Batch] | None":
        """The batch in two, each with half of the records, in log order; None where it has one or none."""
        records = sorted((*(one.record for one in self.events), *(one.record for one in self.malformed)), key=_place)
        if len(records) < 2:
            return None
        cut = _place(records[len(records) // 2])
        return self._part(cut, first=True), self._part(cut, first=False)

    def _part(self, cut: tuple[str, int, int], *, first: bool) -> "Batch":
        """What lies before a record, or from it on: one partition is divided, the others go to one side whole."""
        spans: dict[Partition, Span] = {}
        for tp, span in self.spans.items():
            if tp == cut[:2]:
                spans[tp] = Span(span.start, cut[2]) if first else Span(cut[2], span.end)
            elif (tp < cut[:2]) == first:
                spans[tp] = span
        events = [one for one in self.events if (_place(one.record) < cut) == first]
        malformed = [one for one in self.malformed if (_place(one.record) < cut) == first]
        return Batch(spans, events, malformed, self.generation)


def _place(record: Record) -> tuple[str, int, int]:
    return record.topic, record.partition, record.offset


Offer = Callable[[Batch], Awaitable[Any]]
"""Hands over a batch, and waits until there is room for it."""

Decoded = tuple[list[Event], list[Malformation]]
"""The events in records, in their order, and what is none."""


class Decoder(Protocol):
    """Makes events of records; between them the statements of the batch before go on."""

    async def read(self, records: Sequence[Record]) -> Decoded:
        """The events of the wanted types in records, and the malformed ones."""
        ...

    async def close(self) -> None:
        """Nothing will be read any more."""
        ...


@dataclass(frozen=True, slots=True)
class Here:
    """Decodes in this process."""

    wanted: frozenset[str]

    async def read(self, records: Sequence[Record]) -> Decoded:
        """See `Decoder`."""
        return sort(await map_in_turns(self.decode, records))

    def decode(self, record: Record) -> Event | Malformation | None:
        """What is in a record; None for an event of another type than the wanted ones, which is counted."""
        try:
            event = decode(record, self.wanted)
        except Malformed as error:
            return Malformation(record, error.reason, error.detail, error.type)
        if event is None:
            telemetry.SKIPPED.labels(record.topic).inc()
        return event

    async def close(self) -> None:
        """See `Decoder`."""


def sort(found: Iterable[Event | Malformation | None]) -> Decoded:
    """Events and malformed records apart, in their order."""
    events: list[Event] = []
    malformed: list[Malformation] = []
    for one in found:
        if isinstance(one, Event):
            events.append(one)
        elif one is not None:
            malformed.append(one)
    return events, malformed
