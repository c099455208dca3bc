"""A batch: records that are read from Kafka together, decoded, with the positions that they advance."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from shared import telemetry
from shared.contracts.envelope import Event, Record, decode
from shared.contracts.reasons import Malformed, Reason
from shared.turns import map_in_turns

Partition = tuple[str, int]
"""A topic and a partition number."""


@dataclass(frozen=True, slots=True)
class Span:
    """Offsets of a partition from `start` (None: nothing was handled before) up to, but without, `end`."""

    start: int | None
    end: int


@dataclass(frozen=True, slots=True)
class Malformation:
    """A record that becomes a dead letter, with the reason."""

    record: Record
    reason: Reason
    error: str
    type: str | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of some partitions. A batch of an older `generation` was rewound or lost, and is stale."""

    spans: dict[Partition, Span]
    events: list[Event]
    malformed: list[Malformation]
    generation: int

    @property
    def size(self) -> int:
        """Number of records that have an effect or become a dead letter."""
        return len(self.events) + len(self.malformed)

    def halves(self) -> "tuple[Batch, Batch] | None":
        """Two batches with half of the records each, in log order; None where there are fewer than two records."""
        records = sorted((item.record for item in (*self.events, *self.malformed)), key=_place)
        if len(records) < 2:
            return None
        cut = _place(records[len(records) // 2])
        return self._part(cut, first=True), self._part(cut, first=False)

    def _part(self, cut: tuple[str, int, int], *, first: bool) -> "Batch":
        """The part before a record, or from it on: its partition is divided, the others are on one side."""
        spans: dict[Partition, Span] = {}
        for tp, span in self.spans.items():
            if tp == cut[:2]:
                spans[tp] = Span(span.start, cut[2]) if first else Span(cut[2], span.end)
            elif (tp < cut[:2]) == first:
                spans[tp] = span
        events = [event for event in self.events if (_place(event.record) < cut) == first]
        malformed = [refused for refused in self.malformed if (_place(refused.record) < cut) == first]
        return Batch(spans, events, malformed, self.generation)


def _place(record: Record) -> tuple[str, int, int]:
    return record.topic, record.partition, record.offset


Offer = Callable[[Batch], Awaitable[Any]]
"""Hands over a batch, and waits until there is room for it."""

Decoded = tuple[list[Event], list[Malformation]]
"""Events and malformed records, each in log order."""


class Decoder(Protocol):
    """Decodes records, and lets other tasks run in between."""

    async def read(self, records: Sequence[Record]) -> Decoded:
        """Decode records: events of the wanted types, and malformed records."""
        ...

    async def close(self) -> None:
        """Release resources; nothing is read afterwards."""
        ...


@dataclass(frozen=True, slots=True)
class Here:
    """Decodes in this process."""

    wanted: frozenset[str]

    async def read(self, records: Sequence[Record]) -> Decoded:
        """See `Decoder`."""
        return sort(await map_in_turns(self.decode, records))

    def decode(self, record: Record) -> Event | Malformation | None:
        """Decode a record; None for an event of an unwanted type, which is counted."""
        try:
            event = decode(record, self.wanted)
        except Malformed as error:
            return Malformation(record, error.reason, error.detail, error.type)
        if event is None:
            telemetry.SKIPPED.labels(record.topic).inc()
        return event

    async def close(self) -> None:
        """See `Decoder`."""


def sort(decoded: Iterable[Event | Malformation | None]) -> Decoded:
    """Separate events and malformed records, and keep their order."""
    events: list[Event] = []
    malformed: list[Malformation] = []
    for item in decoded:
        if isinstance(item, Event):
            events.append(item)
        elif item is not None:
            malformed.append(item)
    return events, malformed
