"""Kills workers, the broker and the database server under load."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from random import Random

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy.local.postgres import Postgres
from tests.support.fleet import Member, until
from tests.support.stack import Stack

POSITIONS_SQL = "SELECT topic, partition, next_offset FROM position"


@dataclass(slots=True)
class Lag:
    """The positions of services, and their backlogs."""

    stack: Stack
    topics: dict[str, tuple[str, ...]]

    async def handled(self, service: str) -> dict[TopicPartition, int]:
        """The next offset of each partition of a service."""
        rows = await self.stack.fetch(service, POSITIONS_SQL)
        return {TopicPartition(row["topic"], row["partition"]): row["next_offset"] for row in rows}

    async def left(self, service: str) -> int:
        """Number of records that a service has not handled yet."""
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
            AssertionError: it does not move in time.
        """
        before = await self.handled(service)

        async def moved() -> bool:
            return await self.handled(service) != before

        await until(moved, seconds, f"progress of {service}")


@dataclass(slots=True)
class Faults:
    """Injects faults; each returns whether it took effect: its victim ran, made progress, and had work left."""

    lag: Lag
    random: Random

    async def kill_a_worker(self) -> str | None:
        """Kill a random worker that works; returns its service, or None where it had no work left."""
        victim = await self._busy_worker()
        if victim is None:
            return None
        victim.kill()
        return victim.service if await self.lag.left(victim.service) > 0 else None

    async def restart_the_broker(self) -> bool:
        """Kill the broker while a worker works, and start it again."""
        busy = await self._busy_worker()
        if busy is None:
            return False
        had_work = await self.lag.left(busy.service) > 0
        await asyncio.to_thread(self.lag.stack.broker.stop)
        await asyncio.to_thread(self.lag.stack.broker.start)
        return had_work

    async def restart_the_server(self, server: Postgres) -> bool:
        """Crash the database server while a worker works, and start it again."""
        busy = await self._busy_worker()
        if busy is None:
            return False
        had_work = await self.lag.left(busy.service) > 0
        await asyncio.to_thread(lambda: server.stop(immediate=True))
        await asyncio.to_thread(server.start)
        return had_work

    async def _busy_worker(self) -> Member | None:
        """A random running worker whose service has just made progress; None where none makes any."""
        running = [worker for worker in self.lag.stack.workers if worker.runs]
        self.random.shuffle(running)
        for worker in running:
            with suppress(AssertionError, asyncpg.PostgresError, OSError):
                if await self.lag.left(worker.service) > 0:
                    await self.lag.works(worker.service, 15.0)
                    if worker.runs:
                        return worker
        return None
