"""Kills workers, the broker and the database server under load."""

import asyncio
import signal
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from deploy.local.postgres import Postgres
from deploy.local.readers import UNREACHABLE, Partition, Reader
from deploy.topics import PARTITIONS
from tests.support.fleet import Member, until
from tests.support.stack import Stack

_POLL_SECONDS: Final = 0.002
"""Shorter than a batch takes, so that a worker is caught between two of them."""
_VICTIM_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Lag:
    """The positions of services, and their backlogs, read over connections that stay open."""

    readers: dict[str, Reader]
    consumer: AIOKafkaConsumer

    @classmethod
    @asynccontextmanager
    async def of(cls, stack: Stack) -> AsyncGenerator["Lag"]:
        """Of all services of a stack."""
        consumer = AIOKafkaConsumer(bootstrap_servers=stack.broker.bootstrap)
        await consumer.start()
        try:
            async with stack.readers() as readers:
                yield cls({reader.service: reader for reader in readers}, consumer)
        finally:
            await consumer.stop()

    async def handled(self) -> dict[str, dict[Partition, int]]:
        """The next offset of each partition, by service."""
        positions = await asyncio.gather(*(reader.positions() for reader in self.readers.values()))
        return dict(zip(self.readers, positions, strict=True))

    async def left(self, service: str) -> int:
        """Number of records that a service has not handled yet."""
        reader = self.readers[service]
        handled = await reader.positions()
        places = [TopicPartition(topic, number) for topic in reader.topics for number in range(PARTITIONS)]
        ends = await self.consumer.end_offsets(places)
        return sum(max(0, end - handled.get(place, 0)) for place, end in ends.items())

    async def works(self, service: str, seconds: float = 60.0) -> None:
        """Wait until a service's position moves.

        Raises:
            AssertionError: it does not move in time.
        """
        before = await self.readers[service].positions()

        async def moved() -> bool:
            return await self.readers[service].positions() != before

        await until(moved, seconds, f"progress of {service}")


async def has_worked(worker: Member) -> bool:
    """Whether a worker has committed a batch since it started."""
    return await asyncio.to_thread(worker.metric, "wafa_batch_records_count") > 0


@dataclass(slots=True)
class Faults:
    """Injects faults while a worker has work left, and has just handled some.

    The worker is stopped (SIGSTOP) until the fault strikes, so it can't handle the rest before. Each fault returns the
    worker's service, or None where no worker was busy: then nothing happened. `publishing` is the task that publishes
    the events.
    """

    stack: Stack
    lag: Lag
    random: Random
    _worked: set[int] = field(default_factory=set[int])
    """Ids of the processes that have committed a batch."""

    async def kill_a_worker(self, publishing: asyncio.Task[None]) -> str | None:
        """Kill a random worker."""
        async with self._busy_worker(publishing) as victim:
            if victim is None:
                return None
            victim.kill()
            return victim.service

    async def restart_the_broker(self, publishing: asyncio.Task[None]) -> str | None:
        """Stop the broker, and start it again."""
        broker = self.stack.broker
        async with self._busy_worker(publishing) as busy:
            if busy is None:
                return None
            await publishing  # a producer without a broker is not what is tested
            await asyncio.to_thread(broker.stop)
        await asyncio.to_thread(broker.start)
        return busy.service

    async def restart_the_server(self, server: Postgres, publishing: asyncio.Task[None]) -> str | None:
        """Crash the database server, and start it again."""
        async with self._busy_worker(publishing) as busy:
            if busy is None:
                return None
            await asyncio.to_thread(lambda: server.stop(immediate=True))
        await asyncio.to_thread(server.start)
        return busy.service

    @asynccontextmanager
    async def _busy_worker(self, publishing: asyncio.Task[None]) -> AsyncGenerator[Member | None]:
        """A random worker that is stopped in the context; None where all events were handled before one was caught."""
        worker = await self._catch(publishing)
        try:
            yield worker
        finally:
            if worker is not None:
                worker.signal(signal.SIGCONT)

    async def _catch(self, publishing: asyncio.Task[None]) -> Member | None:
        deadline = time.monotonic() + _VICTIM_SECONDS
        before: dict[str, dict[Partition, int]] = {}
        while time.monotonic() < deadline:
            is_published = publishing.done()
            # A server that has just started may refuse a connection.
            with suppress(*UNREACHABLE, KafkaError):
                now = await self.lag.handled()
                moved = {service for service in before if now[service] != before[service]}
                for worker in await self._running(moved):
                    if await self._stop_with_work_left(worker):
                        return worker
                before = now
                if is_published and not moved and not any([await self.lag.left(service) for service in now]):
                    return None
            await asyncio.sleep(_POLL_SECONDS)
        return None

    async def _running(self, services: set[str]) -> list[Member]:
        """The running workers of these services that have worked, in random order."""
        running = [worker for worker in self.stack.workers if worker.service in services and worker.runs]
        for worker in running:
            if worker.pid not in self._worked and await has_worked(worker):
                self._worked.add(worker.pid)
        running = [worker for worker in running if worker.pid in self._worked]
        self.random.shuffle(running)
        return running

    async def _stop_with_work_left(self, worker: Member) -> bool:
        """Stop a worker, and let it go on if its service has no work left; returns whether it is stopped."""
        is_busy = False
        worker.signal(signal.SIGSTOP)
        try:
            is_busy = await self.lag.left(worker.service) > 0 and worker.runs
        finally:
            if not is_busy:
                worker.signal(signal.SIGCONT)
        return is_busy
