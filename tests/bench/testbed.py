"""What every side of a comparison stands on: one broker, one database server, the same data."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from deploy import topics
from deploy.local.broker import EmbeddedBroker
from deploy.local.kafka import ApacheKafka
from deploy.local.postgres import Postgres
from deploy.sample.cloudevent import PURCHASES, REVIEWS, CloudEvent
from deploy.sample.publisher import connect
from shared.postgres.pool import Pool, open_pool
from tests.support.postgres import make_database

FED: Final = (PURCHASES, REVIEWS)
"""The topics that are filled; the others stay empty but for what Wafa itself publishes."""


class Testbed:
    """PostgreSQL as `make run` has it (durable), and a broker: real Kafka, or the embedded one."""

    def __init__(self, folder: Path, *, embedded: bool) -> None:
        self.folder = folder
        self.embedded = embedded
        self._postgres = Postgres(folder / "postgres")
        self._broker = EmbeddedBroker() if embedded else ApacheKafka(folder / "kafka")
        self.begins: dict[tuple[str, int], int] = {}
        """The offset at which each partition of the fed topics begins."""

    @property
    def bootstrap(self) -> str:
        """The address for Kafka clients."""
        return self._broker.bootstrap

    def start(self) -> None:
        """Start both; `stop` ends what is running also when this failed half-way."""
        self._postgres.start()
        self._broker.start()

    def stop(self) -> None:
        """End both, and wait for them."""
        self._broker.stop()
        self._postgres.stop(immediate=True)

    async def fill(self, events: Iterable[CloudEvent]) -> int:
        """Empty the topics and publish these events; returns how many."""
        await self._empty()
        count = 0

        def told(chunk: list[CloudEvent]) -> None:
            nonlocal count
            count += len(chunk)

        async with connect(self.bootstrap, idempotent=not self.embedded) as publisher:
            await publisher.publish(events, told)
        return count

    async def _empty(self) -> None:
        if self.embedded:  # it holds everything in memory, and cannot delete records
            self._broker.stop()
            self._broker.start()
        await topics.create(self.bootstrap)
        partitions = [TopicPartition(topic, number) for topic in FED for number in range(topics.PARTITIONS)]
        ends = dict.fromkeys(partitions, 0) if self.embedded else await self._delete(partitions)
        self.begins = {(one.topic, one.partition): end for one, end in ends.items()}

    async def _delete(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        """Delete all records; returns where each partition goes on."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap)
        await consumer.start()
        try:
            ends = await consumer.end_offsets(partitions)
        finally:
            await consumer.stop()
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            await admin.delete_records({one: RecordsToDelete(end) for one, end in ends.items() if end})
        finally:
            await admin.close()
        return ends

    @asynccontextmanager
    async def database(self) -> AsyncIterator[tuple[str, Pool]]:
        """The URL of a new database of the points service, with a pool on it; dropped in the end."""
        url = await make_database(self._postgres.url(), "points")
        try:
            async with await open_pool(url, application="wafa-bench") as pool:
                yield url, pool
        finally:
            connection = await asyncpg.connect(self._postgres.url())
            try:
                await connection.execute(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")
            finally:
                await connection.close()
