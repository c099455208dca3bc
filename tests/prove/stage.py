"""What a run stands on: Kafka, PostgreSQL behind the proxy, four databases and the processes of the services."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from deploy import topics
from deploy.keys import create_key
from deploy.local.kafka import ApacheKafka
from deploy.local.layout import SERVICES
from deploy.local.ports import LOOPBACK, answers, free_port
from deploy.local.postgres import Postgres
from shared.postgres.migrate import migrate
from shared.postgres.pool import Pool, open_pool
from tests.prove.fleet import Fleet
from tests.prove.proxy import Proxy

WORKERS: Final = (("points", 2), ("tiers", 1), ("referrals", 1), ("notifications", 1))
SESSION_MS: Final = 6_000
"""The shortest that Kafka allows: so a dead worker's partitions wait no longer than they must."""

_READY_SECONDS: Final = 90.0

# Rows leave the outbox when they are published. A copy of each, made in the transaction that made the row,
# is how it is known afterwards what was committed.
_KEEP_OUTBOX_SQL: Final = """
CREATE TABLE proof_outbox (id bigint PRIMARY KEY, topic text NOT NULL, key bytea NOT NULL, value bytea NOT NULL);
CREATE FUNCTION proof_keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO proof_outbox VALUES (NEW.id, NEW.topic, NEW.key, NEW.value);
    RETURN NULL;
END $$;
CREATE TRIGGER proof_keep AFTER INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION proof_keep();
"""


@dataclass(slots=True)
class Stage:
    """A running stage; `pools` go to PostgreSQL past the proxy, a pool for each service."""

    broker: ApacheKafka
    server: Postgres
    proxy: Proxy
    fleet: Fleet
    env: dict[str, str]
    """As the services have it: their databases are behind the proxy."""
    api_url: str
    token: str
    pools: dict[str, Pool]

    def direct_env(self) -> dict[str, str]:
        """The environment of commands that are run beside the services: their databases without the proxy."""
        urls = {f"WAFA_DATABASE_URL_{one.upper()}": database_url(self.server.url(), one) for one in SERVICES}
        return {**os.environ, **self.env, **urls}

    async def restart_server(self) -> None:
        """Crash PostgreSQL, and start it again."""
        await asyncio.to_thread(lambda: self.server.stop(immediate=True))
        await asyncio.to_thread(self.server.start)

    async def restart_broker(self) -> None:
        """Kill the broker, and start it again."""
        await asyncio.to_thread(self.broker.kill)
        await asyncio.to_thread(self.broker.start)


def database_url(server_url: str, service: str) -> str:
    """The database of a service on a server."""
    return urlunsplit(urlsplit(server_url)._replace(path=f"/wafa_{service}"))


@asynccontextmanager
async def staged(folder: Path, planted: str | None = None) -> AsyncIterator[Stage]:
    """Everything, running and ready; ended in the end, whatever happens. `planted` is a bug in the workers."""
    broker, server = ApacheKafka(folder / "kafka"), Postgres(folder / "postgres", port=free_port())
    fleet: Fleet | None = None
    proxy = Proxy(free_port(), server.port)
    pools: dict[str, Pool] = {}
    try:
        await asyncio.gather(asyncio.to_thread(broker.start), asyncio.to_thread(server.start))
        await topics.create(broker.bootstrap)
        await proxy.start()
        await _prepare(server)
        for service in SERVICES:
            url = database_url(server.url(), service)
            pools[service] = await open_pool(url, application="wafa-prove", min_size=0, max_size=4)
        env, api_port, token = _environment(folder, broker, server, proxy)
        fleet = Fleet(env, folder / "logs", planted=planted)
        _start(fleet, env, api_port)
        stage = Stage(broker, server, proxy, fleet, env, f"http://{LOOPBACK}:{api_port}", token, pools)
        await _until_ready(fleet, api_port)
        yield stage
    finally:
        if fleet is not None:
            fleet.stop()
        for pool in pools.values():
            pool.terminate()
        await proxy.stop()
        await asyncio.to_thread(broker.kill)
        await asyncio.to_thread(lambda: server.stop(immediate=True))


async def _prepare(server: Postgres) -> None:
    connection = await asyncpg.connect(server.url())
    try:
        for service in SERVICES:
            await connection.execute(f'CREATE DATABASE "wafa_{service}"')
    finally:
        await connection.close()
    for service in SERVICES:
        url = database_url(server.url(), service)
        await migrate(url, f"services.{service}")
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(_KEEP_OUTBOX_SQL)
        finally:
            await connection.close()


def _environment(folder: Path, broker: ApacheKafka, server: Postgres, proxy: Proxy) -> tuple[dict[str, str], int, str]:
    """The services' settings, the port of the APIs and an admin's key."""
    keys, api_port = folder / "api-keys.json", free_port()
    token = create_key(keys, ["admin"], "proof")
    before_proxy = server.url().replace(f":{server.port}/", f":{proxy.port}/")
    env = {
        "WAFA_KAFKA_BOOTSTRAP": broker.bootstrap,
        "WAFA_KAFKA_IDEMPOTENCE": "true",
        "WAFA_KAFKA_SESSION_TIMEOUT_MS": str(SESSION_MS),
        "WAFA_API_KEYS_FILE": str(keys),
        "WAFA_JWT_KEY": secrets.token_urlsafe(48),
        "WAFA_NOTIFICATIONS_SMTP_HOST": LOOPBACK,
        "WAFA_NOTIFICATIONS_SMTP_PORT": str(free_port()),
        **{f"WAFA_DATABASE_URL_{one.upper()}": database_url(before_proxy, one) for one in SERVICES},
    }
    return env, api_port, token


def _start(fleet: Fleet, env: dict[str, str], api_port: int) -> None:
    smtp, web = env["WAFA_NOTIFICATIONS_SMTP_PORT"], str(free_port())
    fleet.add("mail", "mail", ("deploy.local.mail", smtp, web), {})
    fleet.add("api", "api", ("deploy.local.gateway", str(api_port)), {})
    for service, count in WORKERS:
        for number in range(1, count + 1):
            fleet.add_worker(service, f"{service}-{number}")


async def _until_ready(fleet: Fleet, api_port: int) -> None:
    """Wait until the APIs answer and every worker has its partitions.

    Raises:
        TimeoutError: that takes too long.
    """
    async with asyncio.timeout(_READY_SECONDS):
        while not answers(api_port):
            await asyncio.sleep(0.1)
        for member in fleet.members:
            while member.entry[-1] == "worker" and not _is_assigned(member.said_since(0)):
                await asyncio.sleep(0.1)


def _is_assigned(lines: list[dict[str, object]]) -> bool:
    return any(line.get("event") == "partitions_assigned" for line in lines)
