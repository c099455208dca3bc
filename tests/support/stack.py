"""A broker, a PostgreSQL server and worker processes for the journeys, all owned by the test.

Everything waits with a timeout, and only processes that were started here are ever signalled.
"""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
from aiokafka import AIOKafkaProducer
from confluent_kafka import Producer

from deploy import topics
from deploy.local import drain, program
from deploy.local.broker import EmbeddedBroker
from deploy.local.kafka import ApacheKafka
from deploy.local.ports import LOOPBACK, free_port
from deploy.local.program import Program
from deploy.local.readers import Reader, broker_of, spec_of
from services import SERVICES
from shared.postgres.pool import open_pool
from tests.support import postgres

REPOSITORY = Path(__file__).parents[2]


Broker = EmbeddedBroker | ApacheKafka


async def until(true: Callable[[], Awaitable[object]], seconds: float = 30.0, what: str = "") -> None:
    """Ask again and again until the answer is true.

    Raises:
        AssertionError: it was not within so many seconds.
    """
    deadline = time.monotonic() + seconds
    while not await true():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what or true}"
        await asyncio.sleep(0.05)


@dataclass(slots=True)
class WorkerProcess:
    """One `python -m services.X worker`; `log` takes what it prints."""

    service: str
    env: Mapping[str, str]
    log: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        """Start it (again); it is not ready yet."""
        name = self.service.upper()
        own = {f"WAFA_{name}_PROBE_PORT": str(self.port), f"WAFA_{name}_HOST": LOOPBACK}
        argv = (sys.executable, "-m", f"services.{self.service}", "worker")
        started = Program(name=self.service, argv=argv, env={**self.env, **own}, cwd=REPOSITORY)
        self.process = program.start(started, self.log)  # it does not outlive the tests

    @property
    def runs(self) -> bool:
        """Whether the process is there."""
        return self.process is not None and self.process.poll() is None

    def is_ready(self) -> bool:
        """Whether `/readyz` answers 200."""
        return self.probe("/readyz")[0] == 200

    def probe(self, path: str) -> tuple[int, str]:
        """Status and body of a probe; 0 when nobody answers."""
        try:
            with urllib.request.urlopen(f"http://{LOOPBACK}:{self.port}{path}", timeout=3.0) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def metric(self, name: str, **labels: str) -> float:
        """A sample of `/metrics`; 0 when it is not there."""
        wanted = {f'{key}="{value}"' for key, value in labels.items()}
        for line in self.probe("/metrics")[1].splitlines():
            found = re.fullmatch(rf"{name}(?:\{{(.*)\}})? (\S+)", line)
            if found and wanted <= set((found[1] or "").split(",")):
                return float(found[2])
        return 0.0

    def kill(self) -> None:
        """End it at once, as `kill -9` does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def terminate(self, seconds: float = 20.0) -> int:
        """Ask it to end; the exit code.

        Raises:
            AssertionError: it did not end in time; it is killed.
        """
        self.signal(signal.SIGTERM)
        return self.wait(seconds)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self, seconds: float = 20.0) -> int:
        """Wait for its end; the exit code.

        Raises:
            AssertionError: it did not end in time; it is killed.
        """
        assert self.process is not None
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.service} did not end within {seconds:.0f} s: {self.lines()[-5:]}") from None

    def lines(self) -> list[dict[str, object]]:
        """What it logged; a line that is not JSON is `{"raw": line}`."""
        return [_parse(line) for line in self.log.read_text(errors="replace").splitlines() if line.strip()]


@dataclass(slots=True)
class Stack:
    """A broker with Wafa's topics, a database per service, and the workers that a test started."""

    broker: Broker
    env: dict[str, str]
    folder: Path
    workers: list[WorkerProcess] = field(default_factory=list, init=False)

    @classmethod
    async def make(cls, broker: Broker, server_url: str, folder: Path, services: Iterable[str] = SERVICES) -> "Stack":
        """Topics and databases; no worker yet. `broker` and the server have been started."""
        await topics.create(broker.bootstrap)
        env = {
            "WAFA_KAFKA_BOOTSTRAP": broker.bootstrap,
            "WAFA_KAFKA_IDEMPOTENCE": "false" if isinstance(broker, EmbeddedBroker) else "true",
            "WAFA_KAFKA_SESSION_TIMEOUT_MS": "6000",
            "WAFA_JWT_KEY": "journeys-" * 8,
            "WAFA_NOTIFICATIONS_SMTP_PORT": str(free_port()),  # nobody answers: mails stay and are tried again
        }
        for service in services:
            env[f"WAFA_DATABASE_URL_{service.upper()}"] = await postgres.make_database(server_url, service)
        return cls(broker, env, folder)

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

    def worker(self, service: str) -> WorkerProcess:
        """Start a worker; it is not ready yet."""
        number = len(self.workers)
        made = WorkerProcess(service, self.env, self.folder / f"{service}-{number}.log")
        self.workers.append(made)
        made.start()
        return made

    async def ready(self, *workers: WorkerProcess, seconds: float = 60.0) -> None:
        """Wait until workers are ready.

        Raises:
            AssertionError: one is not in time.
        """
        for one in workers:
            await until(lambda one=one: asyncio.to_thread(one.is_ready), seconds, f"{one.service}: {one.log}")

    @property
    def services(self) -> list[str]:
        """The services that have a database here."""
        return [service for service in SERVICES if f"WAFA_DATABASE_URL_{service.upper()}" in self.env]

    async def drain(self, seconds: float = 60.0, *, services: Collection[str] = SERVICES) -> None:
        """Wait until these services have handled all that was published, and all that followed from it too.

        Markers of an unknown type tell how far each partition is read, until nothing came between two rounds.

        Raises:
            AssertionError: something is left after so many seconds.
        """
        deadline = time.monotonic() + seconds
        before: dict[tuple[str, int], int] = {}
        async with self._readers(services) as readers, self._producer() as producer:
            while True:
                markers = await drain.mark(producer, sorted({topic for one in readers for topic in one.topics}))
                while left := await drain.behind(readers, markers) + await drain.unpublished(readers):
                    assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {left}"
                    await asyncio.sleep(0.05)
                if {place: offset + 1 for place, offset in before.items()} == markers:
                    return
                before = markers

    @asynccontextmanager
    async def _readers(self, services: Collection[str]) -> AsyncIterator[list[Reader]]:
        cluster = await broker_of(self.env).cluster_id()
        async with AsyncExitStack() as pools:
            readers: list[Reader] = []
            for service in [one for one in self.services if one in services]:
                pool = await pools.enter_async_context(
                    await open_pool(self.database_url(service), application="wafa-test", max_size=1)
                )
                readers.append(Reader.of(spec_of(service), cluster, pool))
            yield readers

    @asynccontextmanager
    async def _producer(self) -> AsyncIterator[AIOKafkaProducer]:
        producer = broker_of(self.env).producer()
        await producer.start()
        try:
            yield producer
        finally:
            await producer.stop()

    def run(self, service: str, *arguments: str, seconds: float = 30.0) -> subprocess.CompletedProcess[str]:
        """A command of a service, such as `dead-letters list --json`."""
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
        """A foreign client: librdkafka, with Java's way to hash keys."""
        idempotent = self.env["WAFA_KAFKA_IDEMPOTENCE"] == "true"
        return Producer(
            {
                "bootstrap.servers": self.broker.bootstrap,
                "partitioner": "murmur2_random",
                "enable.idempotence": idempotent,
                "acks": "all",
                "linger.ms": 5,
                "compression.type": compression,
                "log_level": 2,  # a broker that is stopped or restarted is what some tests are about
            }
        )

    def terminate(self) -> dict[str, int]:
        """Ask all workers to end, and wait for it; the exit code of each by its log's name."""
        running = [one for one in self.workers if one.runs]
        for one in running:
            one.signal(signal.SIGTERM)
        return {one.log.stem: one.wait() for one in running}

    def stop(self) -> None:
        """End every worker that is still there, at once."""
        for one in self.workers:
            if one.runs:
                one.kill()


def _parse(line: str) -> dict[str, object]:
    try:
        found = json.loads(line)
    except ValueError:
        return {"raw": line}
    return found if isinstance(found, dict) else {"raw": line}
