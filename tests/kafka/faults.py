"""Kills workers, the broker and the database server, each in the middle of work."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy.local.postgres import Postgres
from shared.messaging.worker import EXIT_RESTART
from tests.support.stack import Stack, WorkerProcess, until

POSITIONS_SQL = "SELECT topic, partition, next_offset FROM position"


@dataclass(slots=True)
class Supervisor:
    """Starts again every worker that ended, as a production supervisor does."""

    stack: Stack
    restarts: int = field(default=0, init=False)
    codes: list[int] = field(default_factory=list, init=False)
    paused: bool = field(default=False, init=False)

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            for one in self.stack.workers:
                if not self.paused and one.process is not None and (code := one.process.poll()) is not None:
                    self.codes.append(code)
                    assert code in (-9, EXIT_RESTART), f"{one.service} ended with {code}: {one.lines()[-1]}"
                    self.restarts += 1
                    one.start()
            await asyncio.sleep(0.2)


@dataclass(slots=True)
class Lag:
    """How far services are, and how much they have to do."""

    stack: Stack
    topics: dict[str, tuple[str, ...]]

    async def handled(self, service: str) -> dict[TopicPartition, int]:
        """The next offset of each partition of a service."""
        rows = await self.stack.fetch(service, POSITIONS_SQL)
        return {TopicPartition(row["topic"], row["partition"]): row["next_offset"] for row in rows}

    async def left(self, service: str) -> int:
        """How many records a service has to handle."""
        handled = await self.handled(service)
        consumer = AIOKafkaConsumer(bootstrap_servers=self.stack.broker.bootstrap)
        await consumer.start()
        try:
            places = [TopicPartition(topic, number) for topic in self.topics[service] for number in range(4)]
            ends = await consumer.end_offsets(places)
        finally:
            await consumer.stop()
        return sum(max(0, end - handled.get(place, 0)) for place, end in ends.items())

    async def works(self, service: str, seconds: float = 60.0) -> None:
        """Wait until a service's position moves.

        Raises:
            AssertionError: it does not in time.
        """
        before = await self.handled(service)

        async def moved() -> bool:
            return await self.handled(service) != before

        await until(moved, seconds, f"{service} to go on")


@dataclass(slots=True)
class Faults:
    """Strikes; each says whether it took effect: something ran, had moved since the fault before, and had work left."""

    lag: Lag
    random: Random

    async def kill_a_worker(self) -> str | None:
        """`kill -9` of a random worker in the middle of its work; its service, or None without effect."""
        victim = await self._busy_worker()
        if victim is None:
            return None
        victim.kill()
        return victim.service if await self.lag.left(victim.service) > 0 else None

    async def restart_the_broker(self) -> bool:
        """End the broker at once in the middle of work, and start it again."""
        busy = await self._busy_worker()
        if busy is None:
            return False
        had_work = await self.lag.left(busy.service) > 0
        await asyncio.to_thread(self.lag.stack.broker.stop)
        await asyncio.to_thread(self.lag.stack.broker.start)
        return had_work

    async def restart_the_server(self, server: Postgres) -> bool:
        """End the database server as a crash does in the middle of work, and start it again."""
        busy = await self._busy_worker()
        if busy is None:
            return False
        had_work = await self.lag.left(busy.service) > 0
        await asyncio.to_thread(lambda: server.stop(immediate=True))
        await asyncio.to_thread(server.start)
        return had_work

    async def _busy_worker(self) -> WorkerProcess | None:
        """A random running worker whose service's position has just moved; None when nothing moves any more."""
        running = [one for one in self.lag.stack.workers if one.runs]
        self.random.shuffle(running)
        for one in running:
            with suppress(AssertionError, asyncpg.PostgresError, OSError):
                if await self.lag.left(one.service) > 0:
                    await self.lag.works(one.service, 15.0)
                    if one.runs:
                        return one
        return None
