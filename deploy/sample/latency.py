"""End-to-end latency of purchases, measured by a client that also reads the events that Wafa publishes.

Purchases are sent at a steady, modest rate to a system that is otherwise idle. The latency of each is the time from
the instant when it was due to be sent until this client has read

* its `loyalty.points.earned.v1`: consumed, evaluated, committed to the ledger, relayed and read;
* its first `loyalty.message.sent.v1`: all of that, and the customer's message committed, relayed and read.

Both times are of this process's monotonic clock. The sender does not wait for answers (an open loop), so a stall
affects every purchase that was due meanwhile. Wafa's events have the id of the purchase as `correlationid`. A purchase
of less than 1.00 earns nothing, and a repeated purchase has no effect: both are left out.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from pydantic_core import from_json

from deploy.sample.cloudevent import PURCHASE_COMPLETED, CloudEvent
from deploy.sample.publisher import Publisher
from shared.contracts.envelope import Record
from shared.messaging.fetching import Consumer

PURCHASES: Final = 300
"""Number of purchases at the end of a sample that are sent at this rate."""

RATE: Final = 50
"""Events a second."""

_EARNED: Final = "loyalty.points.earned.v1"
_SENT: Final = "loyalty.message.sent.v1"
_TOPICS: Final = ("loyalty.points", "loyalty.messages")
_POLL_MS: Final = 100
_QUIET_POLLS: Final = 5


@dataclass(frozen=True, slots=True)
class Figures:
    """The latencies of an effect, in seconds, ascending."""

    seconds: tuple[float, ...]

    def percentile(self, percent: float) -> float:
        """The latency that `percent` % of the purchases did not exceed (nearest rank), in seconds."""
        place = max(1, math.ceil(percent / 100 * len(self.seconds)))
        return self.seconds[place - 1]


@dataclass(frozen=True, slots=True)
class Latency:
    """The latencies from purchases to points and to messages; figures are empty if nothing was new."""

    purchases: int
    rate: int
    points: Figures
    message: Figures


async def measure(
    bootstrap: str, publisher: Publisher, events: Sequence[CloudEvent], drained: Callable[[], Awaitable[object]]
) -> Latency:
    """Send the events at the steady rate to an idle system; `drained` returns when all events are handled."""
    async with _listener(bootstrap) as listener:
        await listener.catch_up()
        done = asyncio.Event()
        listening = asyncio.create_task(listener.listen(done))
        try:
            await _send(publisher, events, listener)
            await drained()
        finally:
            done.set()
            await listening
        await listener.catch_up()
        return listener.latency()


class _Listener:
    """Reads Wafa's events, without a consumer group, and records when it first reads each effect."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._due: dict[str, float] = {}
        self._seen: dict[str, dict[str, float]] = {_EARNED: {}, _SENT: {}}

    async def catch_up(self) -> None:
        """Read until no more records arrive."""
        quiet = 0
        while quiet < _QUIET_POLLS:
            quiet = 0 if await self._read() else quiet + 1

    async def listen(self, done: asyncio.Event) -> None:
        """Read until `done` is set."""
        while not done.is_set():
            await self._read()

    def expect(self, event: CloudEvent, due: float) -> None:
        """Record the effects of this event, which is due at `due` (monotonic seconds)."""
        self._due[event.id] = due

    def latency(self) -> Latency:
        """The latencies measured so far."""
        points, message = (self._figures(seen) for seen in (self._seen[_EARNED], self._seen[_SENT]))
        return Latency(len(self._due), RATE, points, message)

    def _figures(self, seen: dict[str, float]) -> Figures:
        return Figures(tuple(sorted(moment - self._due[root] for root, moment in seen.items())))

    async def _read(self) -> int:
        polled = await self._consumer.getmany(timeout_ms=_POLL_MS)
        now = time.monotonic()
        values = [record.value for records in polled.values() for record in records if isinstance(record, Record)]
        if self._due:
            for value in values:
                self._note(value, now)
        return len(values)

    def _note(self, value: bytes | None, now: float) -> None:
        if value is None or b'"correlationid"' not in value:
            return
        try:
            event = from_json(value)
            seen, root = self._seen.get(event["type"]), event["correlationid"]
            if seen is not None and root in self._due:
                seen.setdefault(root, now)
        except (ValueError, TypeError, KeyError):
            return  # a record of another producer, not an event of Wafa


async def _send(publisher: Publisher, events: Sequence[CloudEvent], listener: _Listener) -> None:
    acknowledgements: list[Awaitable[object]] = []
    start = time.monotonic()
    for place, event in enumerate(events):
        due = start + place / RATE
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        if event.type == PURCHASE_COMPLETED:
            listener.expect(event, due)
        acknowledgements.append(await publisher.send(event))
    await asyncio.gather(*acknowledgements)


@asynccontextmanager
async def _listener(bootstrap: str) -> AsyncIterator[_Listener]:
    # Read from the earliest record to the end, because the embedded broker's end offsets are not reliable.
    # Without a group the consumer reads all partitions.
    consumer = Consumer(
        *_TOPICS, bootstrap_servers=bootstrap, client_id="wafa-sample", group_id=None, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        yield _Listener(consumer)
    finally:
        await consumer.stop()
