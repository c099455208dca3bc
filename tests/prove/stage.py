"""The environment of a run: Kafka, PostgreSQL behind the proxy, four databases and the services' processes."""

import asyncio
import os
import secrets
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from aiokafka.admin import AIOKafkaAdminClient

from deploy import topics
from deploy.keys import create_key
from deploy.local.kafka import ApacheKafka
from deploy.local.ports import LOOPBACK, free_port
from deploy.local.postgres import Postgres
from services import SERVICES
from shared.contracts.topics import ALL
from shared.postgres.migrate import migrate
from shared.postgres.pool import Pool, open_pool
from tests.prove.plants.plant import FOLDER, SETTLING
from tests.prove.proxy import Proxy
from tests.support.fleet import Fleet, Member, environment, listening, planted

_READY_SECONDS: Final = 90.0

# Rows leave the outbox when they are published. A trigger copies each row in the transaction that inserts it, so the
# copies show afterwards what was committed.
KEEP_OUTBOX_SQL: Final = """
CREATE TABLE proof_outbox (id bigint PRIMARY KEY, topic text NOT NULL, key bytea NOT NULL, value bytea NOT NULL);
CREATE FUNCTION proof_keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO proof_outbox VALUES (NEW.id, NEW.topic, NEW.key, NEW.value);
    RETURN NULL;
END $$;
CREATE TRIGGER proof_keep AFTER INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION proof_keep();
"""


@dataclass(frozen=True, slots=True)
class Ground:
    """A broker and a database server, which several stages can use one after another."""

    folder: Path
    broker: ApacheKafka
    server: Postgres


@dataclass(frozen=True, slots=True)
class Cast:
    """Number of workers by service, and the bug that is planted in them (and in the APIs)."""

    workers: Mapping[str, int] = field(
        default_factory=lambda: {"points": 2, "tiers": 1, "referrals": 1, "notifications": 1}
    )
    planted: str | None = None
    planted_api: bool = False
    settles_soon: bool = False
    """See Plan; a plant decides that itself."""

    @property
    def services(self) -> tuple[str, ...]:
        """The services that handle events."""
        return tuple(self.workers)


@dataclass(slots=True)
class Stage:
    """A running stage; `pools` go to PostgreSQL past the proxy, a pool for each service."""

    ground: Ground
    cast: Cast
    proxy: Proxy
    fleet: Fleet
    env: dict[str, str]
    """The services' settings: their databases are behind the proxy."""
    api_url: str
    token: str
    pools: dict[str, Pool]
    log_begins: int
    """Size of the server's log, in bytes, when the stage was set."""

    @property
    def broker(self) -> ApacheKafka:
        """The broker."""
        return self.ground.broker

    @property
    def server(self) -> Postgres:
        """The database server."""
        return self.ground.server

    def deadlocks(self) -> list[str]:
        """Deadlocks in the server's log since the stage was set."""
        with self.server.log.open("rb") as file:
            file.seek(self.log_begins)
            return [line.decode(errors="replace").strip() for line in file if b"deadlock detected" in line]

    def direct_env(self) -> dict[str, str]:
        """The environment for commands: the databases without the proxy."""
        urls = {
            f"WAFA_DATABASE_URL_{service.upper()}": database_url(self.server.url(), service) for service in SERVICES
        }
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
async def grounded(folder: Path) -> AsyncIterator[Ground]:
    """Run Kafka and PostgreSQL until the end of the context."""
    ground = Ground(folder, ApacheKafka(folder / "kafka"), Postgres(folder / "postgres", port=free_port()))
    try:
        await asyncio.gather(asyncio.to_thread(ground.broker.start), asyncio.to_thread(ground.server.start))
        yield ground
    finally:
        await asyncio.to_thread(ground.broker.kill)
        await asyncio.to_thread(lambda: ground.server.stop(immediate=True))


@asynccontextmanager
async def staged(ground: Ground, cast: Cast) -> AsyncIterator[Stage]:
    """Run processes on empty topics and databases until the end of the context; they are ready."""
    proxy = Proxy(free_port(), ground.server.port)
    pools: dict[str, Pool] = {}
    folder = Path(tempfile.mkdtemp(prefix="stage-", dir=ground.folder))
    env, api_port, token = _environment(folder, ground, proxy)
    fleet = Fleet(env, folder / "logs")
    log_begins = ground.server.log.stat().st_size
    try:
        await _empty_topics(ground.broker.bootstrap)
        await _empty_databases(ground.server)
        await proxy.start()
        for service in SERVICES:
            url = database_url(ground.server.url(), service)
            pools[service] = await open_pool(url, application="wafa-prove", min_size=0, max_size=4)
        api = _start(fleet, cast, api_port)
        stage = Stage(ground, cast, proxy, fleet, env, f"http://{LOOPBACK}:{api_port}", token, pools, log_begins)
        await _until_ready(fleet, api)
        yield stage
    finally:
        fleet.stop()
        for pool in pools.values():
            pool.terminate()
        await proxy.stop()


async def _empty_topics(bootstrap: str) -> None:
    """Create the topics again."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        while left := set(await admin.list_topics()) & set(ALL):
            await admin.delete_topics(sorted(left))
            await asyncio.sleep(0.3)
    finally:
        await admin.close()
    await topics.create(bootstrap)


async def _empty_databases(server: Postgres) -> None:
    """Create the databases again, each with a copy of its outbox."""
    connection = await asyncpg.connect(server.url())
    try:
        for service in SERVICES:
            await connection.execute(f'DROP DATABASE IF EXISTS "wafa_{service}" WITH (FORCE)')
            await connection.execute(f'CREATE DATABASE "wafa_{service}"')
    finally:
        await connection.close()
    for service in SERVICES:
        url = database_url(server.url(), service)
        await migrate(url, f"services.{service}")
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(KEEP_OUTBOX_SQL)
        finally:
            await connection.close()


def _environment(folder: Path, ground: Ground, proxy: Proxy) -> tuple[dict[str, str], int, str]:
    """The services' settings, the port of the APIs and an admin's key."""
    keys, api_port = folder / "api-keys.json", free_port()
    token = create_key(keys, ["admin"], "proof")
    behind_proxy = ground.server.url().replace(f":{ground.server.port}/", f":{proxy.port}/")
    env = environment(ground.broker.bootstrap, {service: database_url(behind_proxy, service) for service in SERVICES})
    env |= {"WAFA_API_KEYS_FILE": str(keys), "WAFA_JWT_KEY": secrets.token_urlsafe(48), FOLDER: str(folder)}
    env["WAFA_REFERRALS_EVIDENCE_KEY"] = secrets.token_urlsafe(48)
    return env, api_port, token


def _start(fleet: Fleet, cast: Cast, api_port: int) -> Member:
    smtp, web = fleet.env["WAFA_NOTIFICATIONS_SMTP_PORT"], str(free_port())
    if "notifications" in cast.services:
        fleet.add("mail", "mail", ("deploy.local.mail", smtp, web))
    gateway = ("deploy.local.gateway", str(api_port))
    api = fleet.add("api", "api", planted(cast.planted, gateway) if cast.planted_api else gateway, port=api_port)
    fleet.planted = cast.planted or (SETTLING if cast.settles_soon else None)
    for service, count in cast.workers.items():
        for number in range(1, count + 1):
            fleet.add_worker(service, f"{service}-{number}")
    return api


async def _until_ready(fleet: Fleet, api: Member) -> None:
    """Wait until the APIs answer and every worker is ready.

    Raises:
        AssertionError: they are not ready in time.
    """
    await listening(api)
    await fleet.ready(*fleet.workers, seconds=_READY_SECONDS)
