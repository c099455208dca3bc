"""The services as readers of topics: their positions, their outboxes, and the work that they still have to do."""

import importlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Self

import asyncpg

from services import SERVICES
from shared.messaging import positions
from shared.messaging.kafka import Broker
from shared.messaging.positions import Group
from shared.messaging.worker import WorkerSpec
from shared.postgres.pool import Pool, open_pool

Partition = tuple[str, int]


@dataclass(frozen=True)
class Reader:
    """A service as a reader of topics, and its database."""

    spec: WorkerSpec
    group: Group
    pool: Pool

    @classmethod
    def of(cls, spec: WorkerSpec, cluster_id: str, pool: Pool) -> Self:
        """The reader for a service's worker on a Kafka cluster."""
        return cls(spec, Group(cluster_id, spec.group), pool)

    @property
    def service(self) -> str:
        """The service's name."""
        return self.spec.service

    @property
    def topics(self) -> Sequence[str]:
        """The topics that it reads."""
        return self.spec.topics

    async def positions(self) -> dict[Partition, int]:
        """The committed position by partition: the next offset to handle."""
        return await positions.load(self.pool, self.group)

    async def outbox(self) -> int:
        """Number of events that are committed and not yet published."""
        count: int = await self.pool.fetchval(OUTBOX_SQL)
        return count

    async def due_work(self) -> dict[str, int]:
        """Amount of work that is due besides records and outbox, by its name."""
        return {work.name: await work.count(self.pool) for work in self.spec.due_work}


OUTBOX_SQL = "SELECT count(*) FROM outbox"


def spec_of(service: str) -> WorkerSpec:
    """The worker of a service, with settings from the environment."""
    settings = importlib.import_module(f"services.{service}.settings").Settings()
    spec: WorkerSpec = importlib.import_module(f"services.{service}.worker").spec(settings)
    return spec


@asynccontextmanager
async def open_readers(broker: Broker) -> AsyncGenerator[Sequence[Reader]]:
    """All services, as the environment describes them.

    Raises:
        OSError, asyncpg.PostgresError, aiokafka.errors.KafkaError: a database or the broker does not answer.
    """
    cluster = await broker.cluster_id()
    async with AsyncExitStack() as pools:
        readers: list[Reader] = []
        for service in SERVICES:
            settings = importlib.import_module(f"services.{service}.settings").Settings()
            pool = await pools.enter_async_context(await open_pool(settings.database_url, application="wafa-local"))
            readers.append(Reader.of(spec_of(service), cluster, pool))
        yield readers


def broker_of(env: Mapping[str, str]) -> Broker:
    """How to reach the broker that an env file names."""
    return Broker(
        bootstrap=env["WAFA_KAFKA_BOOTSTRAP"],
        client_id="wafa-local",
        idempotent=env["WAFA_KAFKA_IDEMPOTENCE"].lower() == "true",
    )


UNREACHABLE = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)
"""The exceptions of a database that does not answer."""
