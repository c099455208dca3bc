"""Records the statements of a worker's transactions once, and plays them from memory.

Playing has the same statements with the same arguments in the same transactions, sent by asyncpg, without the rest of
a worker's work: reading Kafka, decoding, applying rules, and building rows.

Several connections share a tape as the lanes of a worker share a topic: a transaction waits only for earlier ones of
the same partitions.
"""

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from services.points import worker
from services.points.handlers import events
from services.points.settings import Settings
from shared.messaging.apart import Apart
from shared.messaging.batch import Batch
from shared.messaging.delivery import Delivery
from shared.messaging.host import GARBAGE_THRESHOLD
from shared.messaging.inflow import Inflow
from shared.messaging.positions import Group
from shared.postgres.pool import Connection, Pool, open_pool
from tests.bench.cpu import Meter
from tests.bench.figures import Measured
from tests.bench.pace import Pace
from tests.bench.testbed import Testbed

_BATCH: Final = 500


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a connection's method: a statement with its arguments."""

    method: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Take:
    """A transaction: its calls, the number of its events, and their partition numbers."""

    calls: list[Call]
    events: int
    numbers: frozenset[int]


class _Reel:
    """Transactions to play in order, concurrently where they share no partition."""

    def __init__(self, takes: Sequence[Take]) -> None:
        self._left = list(takes)
        self._playing: set[int] = set()
        self._freed = asyncio.Event()

    async def next(self) -> Take | None:
        """The next transaction that does not have to wait for an earlier one; None at the end."""
        while self._left:
            blocked = set(self._playing)
            for index, take in enumerate(self._left):
                if blocked.isdisjoint(take.numbers):
                    self._playing |= take.numbers
                    return self._left.pop(index)
                blocked |= take.numbers
            self._freed.clear()
            await self._freed.wait()
        return None

    def played(self, take: Take) -> None:
        """Release the transactions that waited for it."""
        self._playing -= take.numbers
        self._freed.set()


class _Recorder:
    """A connection that records every call."""

    def __init__(self, connection: Connection, calls: list[Call]) -> None:
        self._connection = connection
        self._calls = calls

    def transaction(self) -> Any:
        return self._connection.transaction()

    def __getattr__(self, method: str) -> Any:
        async def call(*arguments: Any, **options: Any) -> Any:
            self._calls.append(Call(method, arguments, options))
            return await getattr(self._connection, method)(*arguments, **options)

        return call


@dataclass(slots=True)
class _RecordingPool:
    pool: Pool
    calls: list[Call] = field(default_factory=list)

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[_Recorder]:
        self.calls.clear()  # of a retried batch, only the successful attempt is recorded
        async with self.pool.acquire() as connection:
            yield _Recorder(connection, self.calls)


async def record(bed: Testbed, pool: Pool, total: int) -> list[Take]:
    """Handle a topic of `total` events with the worker's own parts, and record their statements."""
    settings = Settings(
        kafka_bootstrap=bed.bootstrap, kafka_idempotence=not bed.embedded, kafka_session_timeout_ms=6000
    )
    broker, spec = settings.broker(), worker.spec(settings)
    group = Group(await bed.cluster_id(), spec.group)
    decoder = Apart(spec.wanted)
    inflow = Inflow(broker, pool, group, decoder, _BATCH)
    await inflow.start()
    takes: list[Take] = []

    async def deliver(batch: Batch) -> None:
        recording = _RecordingPool(pool)
        delivery = Delivery(recording, group, events.handle)  # type: ignore[arg-type] the part of a pool that it uses
        with inflow.applying(batch):
            await delivery.deliver(batch, inflow.is_stale)
        takes.append(Take(recording.calls, batch.size, frozenset(number for _, number in batch.spans)))
        inflow.stopping = sum(take.events for take in takes) >= total

    try:
        await inflow.run(spec.topics, deliver, deliver)
    finally:
        await inflow.close()
        await decoder.close()
    return takes


def copies(takes: Sequence[Take]) -> list[Take]:
    """Each transaction reduced to its COPY into append-only tables."""
    kept = [[call for call in take.calls if call.method == "copy_records_to_table"] for take in takes]
    return [Take(calls, take.events, take.numbers) for calls, take in zip(kept, takes, strict=True)]


def rows(takes: Sequence[Take]) -> int:
    """Number of copied rows."""
    return sum(len(call.options["records"]) for take in takes for call in take.calls if "records" in call.options)


async def play(bed: Testbed, url: str, pool: Pool, takes: Sequence[Take], connections: int = 1) -> Measured:
    """Play the tape on a fresh database; returns events per second."""
    meter = Meter(bed, pool, {"asyncpg": [os.getpid()]})
    pace = Pace(sum(take.events for take in takes), meter)
    reel = _Reel(takes)
    handled = 0

    async def turn(playing: Pool) -> None:
        nonlocal handled
        while take := await reel.next():
            async with playing.acquire() as connection, connection.transaction():
                for call in take.calls:
                    await getattr(connection, call.method)(*call.arguments, **call.options)
            reel.played(take)
            handled += take.events
            await pace.note(handled)

    async with await open_pool(url, application="tape", min_size=connections, max_size=connections) as playing:
        with undisturbed():
            await asyncio.gather(*(turn(playing) for _ in range(connections)))
    return pace.measured


@contextmanager
def undisturbed() -> Iterator[None]:
    """Configure the garbage collector as in the worker."""
    gc.collect()
    gc.freeze()
    threshold = gc.get_threshold()
    gc.set_threshold(GARBAGE_THRESHOLD)
    try:
        yield
    finally:
        gc.set_threshold(*threshold)
        gc.unfreeze()
