"""The services as readers of topics: what each reads, how far it is, and what it has yet to publish."""

import importlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import asyncpg

from deploy.local.layout import SERVICES
from shared.messaging import kafka, positions
from shared.messaging.kafka import Broker
from shared.messaging.positions import Group
from shared.postgres.pool import Pool, open_pool

Partition = tuple[str, int]


@dataclass(frozen=True)
class Reader:
    """A service: the topics that it reads, and its database."""

    service: str
    topics: Sequence[str]
    group: Group
    pool: Pool

    async def positions(self) -> dict[Partition, int]:
        """The next offset of every partition that it has handled anything of: exact, as committed."""
        return await positions.load(self.pool, self.group)

    async def outbox(self) -> int:
        """How many events it has committed and not yet published: exact."""
        count: int = await self.pool.fetchval(OUTBOX_SQL)
        return count

    async def mails(self) -> int:
        """How many mails it has to send now, those that are being sent included; 0 where a service sends none."""
        count: int = await self.pool.fetchval(MAILS_SQL) if self.service == "notifications" else 0
        return count

    async def unsettled(self) -> int:
        """Of how many customers it has orders to settle by a new timeline; 0 where a service settles none."""
        count: int = await self.pool.fetchval(UNSETTLED_SQL) if self.service == "points" else 0
        return count


OUTBOX_SQL = "SELECT count(*) FROM outbox"

# A worker that takes mails moves them on by ten minutes while it sends them; a mail that the server put off
# the first time is due again sooner than that.
MAILS_SQL = """
SELECT count(*) FROM message
WHERE due_at <= now() OR (due_at > now() + interval '9 minutes' AND attempts = 1 AND state = 'queued')
"""


UNSETTLED_SQL = "SELECT count(*) FROM resettling"


@asynccontextmanager
async def open_readers(broker: Broker) -> AsyncGenerator[Sequence[Reader]]:
    """All services, as the environment describes them.

    Raises:
        OSError, asyncpg.PostgresError, aiokafka.errors.KafkaError: a database or the broker does not answer.
    """
    cluster = await kafka.cluster_id(broker)
    async with AsyncExitStack() as pools:
        readers: list[Reader] = []
        for service in SERVICES:
            settings = importlib.import_module(f"services.{service}.settings").Settings()
            spec = importlib.import_module(f"services.{service}.worker").spec(settings)
            pool = await pools.enter_async_context(await open_pool(settings.database_url, application="wafa-local"))
            readers.append(Reader(service, spec.topics, Group(cluster, spec.group), pool))
        yield readers


def broker_of(env: Mapping[str, str]) -> Broker:
    """How to reach the broker that an env file names."""
    return Broker(
        bootstrap=env["WAFA_KAFKA_BOOTSTRAP"],
        client_id="wafa-local",
        idempotent=env["WAFA_KAFKA_IDEMPOTENCE"].lower() == "true",
    )


UNREACHABLE = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)
"""What is raised when a database does not answer."""
