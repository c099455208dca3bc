"""The common environment of all sides: one broker, one database server, the same data."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from deploy import topics
from deploy.local.broker import EmbeddedBroker
from deploy.local.kafka import ApacheKafka
from deploy.local.postgres import Postgres
from deploy.sample.cloudevent import CloudEvent
from deploy.sample.publisher import connect
from shared.contracts import topics as contract
from shared.messaging.kafka import Broker
from shared.postgres.pool import Pool, open_pool
from tests.support.postgres import make_database

PARTITIONS = [TopicPartition(topic, number) for topic in contract.ALL for number in range(topics.PARTITIONS)]

# A latency ends at the commit of a row.
_SETTINGS = {"track_commit_timestamp": "on"}


class Testbed:
    """PostgreSQL configured as in `make run` (durable), and a broker: Apache Kafka or the embedded one."""

    def __init__(self, folder: Path, *, embedded: bool) -> None:
        self.folder = folder
        self.embedded = embedded
        self.postgres = Postgres(folder / "postgres", settings=_SETTINGS)
        self._broker = EmbeddedBroker() if embedded else ApacheKafka(folder / "kafka")
        self.begins: dict[tuple[str, int], int] = {}
        """The offset at which each partition begins."""
        self._reel: str | None = None

    @property
    def bootstrap(self) -> str:
        """The address for Kafka clients."""
        return self._broker.bootstrap

    @property
    def broker(self) -> Broker:
        """The broker with the services' settings."""
        return Broker(self.bootstrap, "wafa-bench", idempotent=not self.embedded, session_timeout_ms=6000)

    @property
    def broker_pid(self) -> int:
        """The broker's process."""
        process: Any = self._broker._process
        return process.pid

    def start(self) -> None:
        """Start both; if this fails halfway, `stop` ends what is running."""
        self.postgres.start()
        self._broker.start()

    def stop(self) -> None:
        """End both, and wait for them."""
        self._broker.stop()
        self.postgres.stop(immediate=True)

    async def reel(self, name: str, events: Callable[[], Iterable[CloudEvent]]) -> None:
        """Put exactly these events on the topics, unless events of the same name are there already."""
        if name != self._reel:
            await self.fill(events())
            self._reel = name

    async def fill(self, events: Iterable[CloudEvent]) -> int:
        """Empty the topics and publish these events; returns their number."""
        self._reel = None
        await self._empty()
        count = 0

        def count_chunk(chunk: list[CloudEvent]) -> None:
            nonlocal count
            count += len(chunk)

        async with connect(self.bootstrap, idempotent=not self.embedded) as publisher:
            await publisher.publish(events, count_chunk)
        return count

    async def ends(self) -> dict[TopicPartition, int]:
        """The current end of each partition."""
        async with self.reader() as reader:
            return await reader.end_offsets(PARTITIONS)

    @asynccontextmanager
    async def reader(self) -> AsyncIterator[AIOKafkaConsumer]:
        """A consumer without a group, for the ends of partitions."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap)
        await consumer.start()
        try:
            yield consumer
        finally:
            await consumer.stop()

    async def cluster_id(self) -> str:
        """The id of the broker's cluster, which positions belong to."""
        return await self.broker.cluster_id()

    async def _empty(self) -> None:
        if self.embedded:  # the embedded broker is in memory, and cannot delete records
            self._broker.stop()
            self._broker.start()
        await topics.create(self.bootstrap)
        ends = dict.fromkeys(PARTITIONS, 0) if self.embedded else await self._delete()
        self.begins = {(item.topic, item.partition): end for item, end in ends.items()}

    async def _delete(self) -> dict[TopicPartition, int]:
        """Delete all records; returns the next offset of each partition."""
        ends = await self.ends()
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            await admin.delete_records({item: RecordsToDelete(end) for item, end in ends.items() if end})
        finally:
            await admin.close()
        return ends

    @asynccontextmanager
    async def database(self, service: str = "points") -> AsyncIterator[tuple[str, Pool]]:
        """The URL of a new database of a service and a pool on it; dropped at the end of the context."""
        url = await make_database(self.postgres.url(), service)
        try:
            async with await open_pool(url, application="wafa-bench") as pool:
                yield url, pool
        finally:
            await self.execute(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")

    async def execute(self, *statements: str) -> None:
        """Run statements outside of the services' databases, each without a transaction."""
        connection = await asyncpg.connect(self.postgres.url())
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()
