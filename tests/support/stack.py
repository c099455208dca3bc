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
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import asyncpg
from confluent_kafka import Producer

from deploy import topics
from deploy.local.ports import LOOPBACK, free_port
from tests.support import postgres

REPOSITORY = Path(__file__).parents[2]
SERVICES = ("points", "tiers", "referrals", "notifications")


class Broker(Protocol):
    """The embedded broker or Apache Kafka."""

    @property
    def bootstrap(self) -> str: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...


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
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", f"services.{self.service}", "worker"],
                env={**os.environ, **self.env, **own},
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

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
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.wait(seconds)

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
            "WAFA_KAFKA_IDEMPOTENCE": "false" if type(broker).__name__ == "EmbeddedBroker" else "true",
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

    def producer(self) -> Producer:
        """A foreign client: librdkafka, with Java's way to hash keys."""
        idempotent = self.env["WAFA_KAFKA_IDEMPOTENCE"] == "true"
        return Producer(
            {
                "bootstrap.servers": self.broker.bootstrap,
                "partitioner": "murmur2_random",
                "enable.idempotence": idempotent,
                "acks": "all",
                "linger.ms": 5,
            }
        )

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
