"""The SQL alone: every statement of a worker's transactions, recorded once and played from memory.

What is left out is all that a worker does besides: reading Kafka, decoding, deciding, and making rows.
What stays is the same statements with the same arguments in the same transactions, and asyncpg.

It is recorded as a worker works, in two lanes. Two connections play a lane each. Lanes exchange partitions, so they
may wait for each other's rows here, where a worker's lanes never have the same customers in hand.
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
from shared.messaging.inflow import Inflow, Offer
from shared.messaging.positions import Group
from shared.messaging.worker import _GARBAGE_THRESHOLD
from shared.postgres.pool import Connection, Pool, open_pool
from tests.bench.cpu import Meter
from tests.bench.figures import Measured
from tests.bench.pace import Pace
from tests.bench.testbed import Testbed

_BATCH: Final = 500
LANES: Final = 2


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a method of a connection: a statement with its arguments."""

    method: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Take:
    """A transaction: its calls, how many events it handles, and the lane it came through."""

    calls: list[Call]
    events: int
    lane: int


class _Recorder:
    """A connection that notes every call before it makes it."""

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
        self.calls.clear()  # a batch that is tried again is recorded as it succeeds
        async with self.pool.acquire() as connection:
            yield _Recorder(connection, self.calls)


async def record(bed: Testbed, pool: Pool, total: int) -> list[Take]:
    """Handle a topic of `total` events with the worker's own parts, noting what they ask of the database."""
    settings = Settings(
        kafka_bootstrap=bed.bootstrap, kafka_idempotence=not bed.embedded, kafka_session_timeout_ms=6000
    )
    broker, spec = settings.broker(), worker.spec(settings)
    group = Group(await bed.cluster_id(), spec.group)
    decoder = Apart(spec.wanted)
    inflow = Inflow(broker, pool, group, decoder, _BATCH)
    await inflow.start()
    takes: list[Take] = []

    def offer(lane: int) -> Offer:
        async def deliver(batch: Batch) -> None:
            recording = _RecordingPool(pool)
            delivery = Delivery(recording, group, events.handle)  # type: ignore[arg-type] the part of a pool that it uses
            with inflow.applying(batch):
                await delivery.deliver(batch, inflow.is_stale)
            takes.append(Take(recording.calls, batch.size, lane))
            inflow.stopping = sum(take.events for take in takes) >= total

        return deliver

    try:
        await inflow.run(spec.topics, *map(offer, range(LANES)))
    finally:
        await inflow.close()
        await decoder.close()
    return takes


def copies(takes: Sequence[Take]) -> list[Take]:
    """Of each transaction only what it copies into the append-only tables."""
    kept = [[call for call in take.calls if call.method == "copy_records_to_table"] for take in takes]
    return [Take(calls, take.events, take.lane) for calls, take in zip(kept, takes, strict=True)]


def rows(takes: Sequence[Take]) -> int:
    """How many rows are copied."""
    return sum(len(call.options["records"]) for take in takes for call in take.calls if "records" in call.options)


async def play(bed: Testbed, url: str, pool: Pool, takes: Sequence[Take], connections: int = 1) -> Measured:
    """Make all the calls again, on a fresh database; returns events per second."""
    meter = Meter(bed, pool, {"asyncpg": [os.getpid()]})
    pace = Pace(sum(take.events for take in takes), meter)
    reels = [[take for take in takes if take.lane == lane] for lane in range(LANES)] if connections > 1 else [takes]
    handled = 0

    async def turn(playing: Pool, reel: Sequence[Take]) -> None:
        nonlocal handled
        for take in reel:
            async with playing.acquire() as connection, connection.transaction():
                for call in take.calls:
                    await getattr(connection, call.method)(*call.arguments, **call.options)
            handled += take.events
            await pace.note(handled)

    async with await open_pool(url, application="tape", min_size=connections, max_size=connections) as playing:
        with undisturbed():
            await asyncio.gather(*(turn(playing, reel) for reel in reels))
    return pace.measured


@contextmanager
def undisturbed() -> Iterator[None]:
    """As in the worker: what stays is not walked over by the garbage collector."""
    gc.collect()
    gc.freeze()
    threshold = gc.get_threshold()
    gc.set_threshold(_GARBAGE_THRESHOLD)
    try:
        yield
    finally:
        gc.set_threshold(*threshold)
        gc.unfreeze()
