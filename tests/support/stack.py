"""A broker with Wafa's topics, a database of each service, and the workers that a test starts."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
from confluent_kafka import Producer

from deploy import topics
from deploy.local import drain
from deploy.local.broker import EmbeddedBroker
from deploy.local.kafka import ApacheKafka
from deploy.local.layout import REPOSITORY
from deploy.local.readers import Reader, broker_of, spec_of
from services import SERVICES
from shared.postgres.pool import open_pool
from tests.support import postgres
from tests.support.fleet import Fleet, Member, environment

Broker = EmbeddedBroker | ApacheKafka


@dataclass(slots=True)
class Stack:
    """See the module; `env` are the settings of the workers that are started next."""

    broker: Broker
    env: dict[str, str]
    folder: Path
    fleet: Fleet = field(init=False)

    def __post_init__(self) -> None:
        self.fleet = Fleet(self.env, self.folder)

    @classmethod
    async def make(cls, broker: Broker, server_url: str, folder: Path, services: Iterable[str] = SERVICES) -> "Stack":
        """Create topics and databases on a broker and a server that run."""
        await topics.create(broker.bootstrap)
        databases = {service: await postgres.make_database(server_url, service) for service in services}
        env = environment(broker.bootstrap, databases, idempotent=not isinstance(broker, EmbeddedBroker))
        return cls(broker, env | {"WAFA_JWT_KEY": "journeys-" * 8}, folder)

    @property
    def services(self) -> list[str]:
        """The services that have a database here."""
        return [service for service in SERVICES if f"WAFA_DATABASE_URL_{service.upper()}" in self.env]

    @property
    def workers(self) -> list[Member]:
        """The workers, also those that have ended."""
        return self.fleet.workers

    def worker(self, service: str) -> Member:
        """Start a worker, without waiting until it is ready."""
        return self.fleet.add_worker(service)

    async def ready(self, *workers: Member) -> None:
        """Wait until workers are ready; see `Fleet.ready`."""
        await self.fleet.ready(*workers)

    def stop(self) -> None:
        """End all workers at once."""
        self.fleet.stop()

    def database_url(self, service: str) -> str:
        """The URL of a service's database."""
        return self.env[f"WAFA_DATABASE_URL_{service.upper()}"]

    async def fetch(self, service: str, query: str, *arguments: object) -> list[asyncpg.Record]:
        """Rows of a service's database."""
        connection = await asyncpg.connect(self.database_url(service))
        try:
            return await connection.fetch(query, *arguments)
        finally:
            await connection.close()

    async def value(self, service: str, query: str, *arguments: object) -> object:
        """The only value of a query."""
        return (await self.fetch(service, query, *arguments))[0][0]

    async def drain(self, seconds: float = 60.0, *, services: Collection[str] = SERVICES) -> None:
        """Wait until these services have handled all published events and everything that follows from them.

        Raises:
            DrainTimeoutError: something is left after `seconds`.
        """
        async with self.readers(services) as readers:
            await drain.drain_readers(broker_of(self.env), readers, seconds)

    @asynccontextmanager
    async def readers(self, services: Collection[str] = SERVICES) -> AsyncIterator[list[Reader]]:
        """Those of these services that have a database here, as readers of topics."""
        cluster = await broker_of(self.env).cluster_id()
        async with AsyncExitStack() as pools:
            readers: list[Reader] = []
            for service in self.services:
                if service in services:
                    pool = await pools.enter_async_context(
                        await open_pool(self.database_url(service), application="wafa-test", max_size=1)
                    )
                    readers.append(Reader.of(spec_of(service), cluster, pool))
            yield readers

    def run(self, service: str, *arguments: str, seconds: float = 30.0) -> subprocess.CompletedProcess[str]:
        """Run a command of a service, such as `dead-letters list --json`."""
        return subprocess.run(
            [sys.executable, "-m", f"services.{service}", *arguments],
            env={**os.environ, **self.env},
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def producer(self, compression: str = "none") -> Producer:
        """A foreign client: librdkafka, with the partitioner of Java's client."""
        return Producer(
            {
                "bootstrap.servers": self.broker.bootstrap,
                "partitioner": "murmur2_random",
                "enable.idempotence": self.env["WAFA_KAFKA_IDEMPOTENCE"] == "true",
                "acks": "all",
                "linger.ms": 5,
                "compression.type": compression,
                "log_level": 2,  # some tests stop or restart the broker
            }
        )
