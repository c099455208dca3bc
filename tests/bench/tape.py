"""The SQL alone: every statement of a worker's transactions, recorded once and played from memory.

What is left out is all that a worker does besides: reading Kafka, decoding, deciding, and making rows.
What stays is the same statements with the same arguments in the same transactions, and asyncpg.
"""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from services.points import worker
from services.points.handlers import events
from services.points.settings import Settings
from shared.messaging import kafka
from shared.messaging.apart import Apart
from shared.messaging.batch import Batch
from shared.messaging.delivery import Delivery
from shared.messaging.inflow import Inflow
from shared.messaging.positions import Group
from shared.messaging.worker import _GARBAGE_THRESHOLD
from shared.postgres.pool import Connection, Pool
from tests.bench.pace import Pace
from tests.bench.testbed import Testbed

_BATCH: Final = 500


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a method of a connection: a statement with its arguments."""

    method: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Take:
    """A transaction: its calls, and how many events it handles."""

    calls: list[Call]
    events: int


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
        async with self.pool.acquire() as connection:
            yield _Recorder(connection, self.calls)


async def record(bed: Testbed, pool: Pool, total: int) -> list[Take]:
    """Handle a topic of `total` events with the worker's own parts, noting what they ask of the database."""
    settings = Settings(
        kafka_bootstrap=bed.bootstrap, kafka_idempotence=not bed.embedded, kafka_session_timeout_ms=6000
    )
    broker, spec = settings.broker(), worker.spec(settings)
    group = Group(await kafka.cluster_id(broker), spec.group)
    decoder = Apart(spec.wanted)
    inflow = Inflow(broker, pool, group, decoder, _BATCH)
    await inflow.start()
    takes: list[Take] = []

    async def offer(batch: Batch) -> None:
        recording = _RecordingPool(pool)
        delivery = Delivery(recording, group, events.handle)  # type: ignore[arg-type] the part of a pool that it uses
        with inflow.applying():
            await delivery.deliver(batch, inflow.is_stale)
        takes.append(Take(recording.calls, batch.size))
        inflow.stopping = sum(take.events for take in takes) >= total

    try:
        await inflow.run(spec.topics, offer)
    finally:
        await inflow.close()
        await decoder.close()
    return takes


async def play(takes: list[Take], pool: Pool) -> float:
    """Make all the calls again, on a fresh database; returns events per second."""
    pace = Pace(sum(take.events for take in takes))
    # As the worker does: what stays is not walked over by the garbage collector.
    gc.collect()
    gc.freeze()
    threshold = gc.get_threshold()
    gc.set_threshold(_GARBAGE_THRESHOLD)
    try:
        handled = 0
        for take in takes:
            async with pool.acquire() as connection, connection.transaction():
                for call in take.calls:
                    await getattr(connection, call.method)(*call.arguments, **call.options)
            handled += take.events
            pace.note(handled)
            await asyncio.sleep(0)
    finally:
        gc.set_threshold(*threshold)
        gc.unfreeze()
    return pace.rate
