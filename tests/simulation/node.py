"""A process of the simulation: the product's worker on a simulated host, broker and clock."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

import asyncpg
from aiokafka.errors import KafkaError

from shared.contracts.envelope import Event
from shared.contracts.outcomes import Refusal
from shared.messaging import kafka
from shared.messaging.application import Handle
from shared.messaging.batch import Batch, Offer
from shared.messaging.worker import Platform, Worker, WorkerSpec
from shared.postgres.pool import Connection, open_pool
from tests.simulation.broker import Broker
from tests.simulation.consumer import Consumer
from tests.simulation.faults import Poison
from tests.simulation.producer import Producer

_LEAST_SECONDS: Final = 15.0
"""Minimum interval of timers: frequent jobs would take much of the time of a seed."""


@dataclass(frozen=True)
class Service:
    """A service: its worker's specification, and its database."""

    spec: WorkerSpec
    url: str

    @property
    def name(self) -> str:
        return self.spec.service


class StartFailedError(Exception):
    """The worker could not start; the supervisor tries again."""


@dataclass(frozen=True, kw_only=True)
class Address(kafka.Broker):
    """The simulated broker, as a worker reaches it."""

    simulated: Broker

    async def cluster_id(self) -> str:
        return await self.simulated.cluster_id()

    def consumer(self, group: str) -> Any:
        return Consumer(self.simulated, group)

    def producer(self) -> Any:
        return Producer(self.simulated)


@dataclass
class Host:
    """Runs lanes and timers as tasks of the simulated loop; `shared.messaging.host.FaustHost` in a real process."""

    started: bool = False
    _work: list[tuple[str, Callable[[], Awaitable[None]]]] = field(default_factory=list)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def lane(self, name: str, apply: Callable[[Batch], Awaitable[None]]) -> Offer:
        batches: asyncio.Queue[Batch] = asyncio.Queue(maxsize=1)

        async def consume() -> None:
            while True:
                await apply(await batches.get())

        self._work.append((name, consume))
        return batches.put

    def timer(self, name: str, seconds: float, run: Callable[[], Awaitable[None]]) -> None:
        async def tick() -> None:
            while True:
                await asyncio.sleep(max(seconds, _LEAST_SECONDS))
                await run()

        self._work.append((name, tick))

    async def start(self) -> None:
        self._tasks = [asyncio.create_task(work(), name=name) for name, work in self._work]
        self.started = True

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)


@dataclass(frozen=True)
class Node:
    """A process with a worker. `exit` is called with the exit code when the process ends itself at once."""

    service: Service
    address: Address
    batch_size: int
    clock: Callable[[], datetime]
    exit: Callable[[int], None]
    stopped: asyncio.Event

    async def run(self) -> int:
        """Run the worker until it is stopped; returns the exit code.

        Raises:
            StartFailedError: see there.
        """
        host = Host()
        application = self.address.client_id.partition(".")[0]
        try:
            pool = await open_pool(self.service.url, application=application, max_size=4)
            worker = Worker(
                replace(self.service.spec, handle=counting(self.service.spec.handle)),
                pool,
                self.address,
                self.batch_size,
                platform=Platform(lambda _service: host, self.clock, self.exit),
                stopped=self.stopped,
            )
            code = await worker.run()
        except (KafkaError, OSError, asyncpg.PostgresError) as error:
            if host.started:
                raise
            raise StartFailedError from error
        pool.terminate()
        return code


_RAISE: Final = "DO $$ BEGIN RAISE EXCEPTION 'simulated' USING ERRCODE = '{}'; END $$"


def poisoned(handle: Handle, poison: Poison) -> Handle:
    """The handler, failing after its work on events of the customer."""

    async def failing(connection: Connection, events: Sequence[Event], now: datetime) -> list[Refusal]:
        refusals = await handle(connection, events, now)
        if any(event.customer_id == poison.customer for event in events):
            if poison.kind == "raises":
                raise ValueError(poison.customer)
            if poison.kind == "session":
                connection.terminate()
            await connection.execute(_RAISE.format(poison.kind))
        return refusals

    return failing


EFFECT_COLUMNS: Final = ("topic", "partition", "offset", "id", "source", "customer_id")


def counting(handle: Handle) -> Handle:
    """The handler, writing a row for each event that it accepted, in the same transaction."""

    async def counted(connection: Connection, events: Sequence[Event], now: datetime) -> list[Refusal]:
        refusals = await handle(connection, events, now)
        refused = [refusal.event for refusal in refusals]
        rows = [
            (event.record.topic, event.record.partition, event.record.offset, event.id, event.source, event.customer_id)
            for event in events
            if not any(event is other for other in refused)
        ]
        await connection.copy_records_to_table("effect", records=rows, columns=EFFECT_COLUMNS)
        return refusals

    return counted
