"""Processes under test, for journeys, prove and bench: started as in production, watched, restarted and ended.

Everything waits with a timeout, and only processes that were started here are ever signaled.
"""

import asyncio
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic_core import from_json

from deploy.local import program
from deploy.local.layout import REPOSITORY
from deploy.local.ports import LOOPBACK, answers, free_port
from deploy.local.program import Program
from shared.messaging.worker import EXIT_RESTART

SESSION_MS: Final = 6_000
"""The shortest session timeout that Kafka allows: the partitions of a dead worker wait for it."""
NO_PERSON: Final = frozenset({0, -signal.SIGKILL, EXIT_RESTART})
"""Exit codes that need no person: ended in order, killed by a test, or to be restarted."""

_POLL_SECONDS: Final = 0.05
_RESTART_SECONDS: Final = 0.2
_START_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 25.0
_TAIL: Final = 20


class ProcessError(Exception):
    """A process under test ended by itself, or did not start or end in time."""


def environment(bootstrap: str, databases: Mapping[str, str], *, idempotent: bool = True) -> dict[str, str]:
    """The settings of services under test, with the URL of each service's database.

    No mail server listens on their SMTP port, so mails stay in the database and are retried.
    """
    return {
        "WAFA_KAFKA_BOOTSTRAP": bootstrap,
        "WAFA_KAFKA_IDEMPOTENCE": str(idempotent).lower(),
        "WAFA_KAFKA_SESSION_TIMEOUT_MS": str(SESSION_MS),
        "WAFA_NOTIFICATIONS_SMTP_HOST": LOOPBACK,
        "WAFA_NOTIFICATIONS_SMTP_PORT": str(free_port()),
        **{f"WAFA_DATABASE_URL_{service.upper()}": url for service, url in databases.items()},
    }


async def until(true: Callable[[], Awaitable[object]], seconds: float = 30.0, what: str = "") -> None:
    """Wait until a function returns something true.

    Raises:
        AssertionError: it is still false after `seconds`.
    """
    deadline = time.monotonic() + seconds
    while not await true():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what or true}"
        await asyncio.sleep(_POLL_SECONDS)


@dataclass(eq=False, slots=True)
class Member:
    """A process of a fleet: `python -m` with `entry`. `port` is that of its probes or its API."""

    name: str
    service: str
    entry: tuple[str, ...]
    env: Mapping[str, str]
    folder: Path
    port: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    is_kept: bool = field(default=True, init=False)
    """Whether `Fleet.keep` restarts it when it ends."""

    @property
    def log(self) -> Path:
        """The output of all its runs."""
        return self.folder / f"{self.name}.log"

    @property
    def pid(self) -> int:
        """The id of the process."""
        assert self.process is not None
        return self.process.pid

    @property
    def runs(self) -> bool:
        """Whether the process is running."""
        return self.process is not None and self.process.poll() is None

    @property
    def is_worker(self) -> bool:
        """Whether it is a worker of a service."""
        return self.entry[-1] == "worker"

    def start(self) -> None:
        """Start or restart it, without waiting until it is ready. It does not outlive this process."""
        argv = (sys.executable, "-m", *self.entry)
        self.process = program.start(Program(self.name, argv, self.env, cwd=REPOSITORY), self.log)

    def is_ready(self) -> bool:
        """Whether `/readyz` answers 200."""
        return self.probe("/readyz")[0] == 200

    def probe(self, path: str) -> tuple[int, str]:
        """Status and body of a probe; 0 where nothing answers."""
        try:
            with urllib.request.urlopen(f"http://{LOOPBACK}:{self.port}{path}", timeout=3.0) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def metric(self, name: str, **labels: str) -> float:
        """A sample of `/metrics`; 0 where there is none."""
        wanted = {f'{key}="{value}"' for key, value in labels.items()}
        for line in self.probe("/metrics")[1].splitlines():
            match = re.fullmatch(rf"{name}(?:\{{(.*)\}})? (\S+)", line)
            if match and wanted <= set((match[1] or "").split(",")):
                return float(match[2])
        return 0.0

    def lines(self, since: int = 0) -> list[dict[str, Any]]:
        """The log lines after a position in bytes; a line that is not JSON is `{"event": line}`."""
        with self.log.open("rb") as file:
            file.seek(since)
            return [_parse(line) for line in file.read().splitlines() if line.strip()]

    def log_size(self) -> int:
        """The size of the log in bytes."""
        return self.log.stat().st_size if self.log.exists() else 0

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if the process is running."""
        if self.process is not None and self.runs:
            self.process.send_signal(number)

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)

    def terminate(self, seconds: float = _STOP_SECONDS) -> int:
        """End it in order (SIGTERM) and for good; returns the exit code.

        Raises:
            ProcessError: it did not end in time, and was killed.
        """
        self.is_kept = False
        self.signal(signal.SIGTERM)
        return self.wait(seconds)

    def wait(self, seconds: float = _STOP_SECONDS) -> int:
        """Wait until it ends; returns the exit code.

        Raises:
            ProcessError: it did not end in time, and was killed.
        """
        assert self.process is not None
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ProcessError(f"{self.name} did not end within {seconds:.0f} s: {self.lines()[-5:]}") from None


@dataclass(slots=True)
class Fleet:
    """Processes with common settings. `planted` is the name of a bug that is planted in its workers."""

    env: Mapping[str, str]
    folder: Path
    planted: str | None = None
    members: list[Member] = field(default_factory=list)
    ends: list[tuple[str, int]] = field(default_factory=list)
    """Name and exit code of each process that ended."""

    def add(self, name: str, service: str, entry: tuple[str, ...], port: int = 0) -> Member:
        """Start a process."""
        member = Member(name, service, entry, self.env, self.folder, port)
        self.members.append(member)
        member.start()
        return member

    def add_worker(self, service: str, name: str = "") -> Member:
        """Start a worker of a service."""
        member = self.worker(service, name or f"{service}-{len(self.members)}")
        self.members.append(member)
        member.start()
        return member

    def worker(self, service: str, name: str) -> Member:
        """Create a worker of a service with a port for its probes, which is not started and not in the fleet."""
        port, prefix = free_port(), f"WAFA_{service.upper()}"
        env = {**self.env, f"{prefix}_PROBE_PORT": str(port), f"{prefix}_HOST": LOOPBACK}
        entry = planted(self.planted, (f"services.{service}", "worker"))
        return Member(name, service, entry, env, self.folder, port)

    @property
    def workers(self) -> list[Member]:
        """The workers, also those that have ended."""
        return [member for member in self.members if member.is_worker]

    def of(self, service: str) -> list[Member]:
        """The running processes of a service, except those that are ending."""
        return [member for member in self.members if member.service == service and member.is_kept and member.runs]

    async def ready(self, *members: Member, seconds: float = 60.0) -> None:
        """Wait until workers are ready.

        Raises:
            AssertionError: a worker is not ready in time.
        """
        for member in members:
            await until(lambda member=member: asyncio.to_thread(member.is_ready), seconds, str(member.log))

    async def keep(self) -> None:
        """Restart processes that end, until cancelled."""
        while True:
            for member in self.members:
                if member.is_kept and member.process is not None and (code := member.process.poll()) is not None:
                    self.ends.append((member.name, code))
                    member.start()
            await asyncio.sleep(_RESTART_SECONDS)

    async def end(self, *members: Member) -> dict[str, int]:
        """End processes in order, concurrently and for good; returns their exit codes (-9: did not end in time)."""
        codes = await asyncio.gather(*(asyncio.to_thread(_end, member) for member in members))
        ended = {member.name: code for member, code in zip(members, codes, strict=True)}
        self.ends += ended.items()
        return ended

    async def end_workers(self) -> dict[str, int]:
        """End all workers that run, as `end`."""
        return await self.end(*(member for member in self.workers if member.is_kept and member.runs))

    def stop(self) -> None:
        """End all processes at once."""
        for member in self.members:
            member.is_kept = False
            if member.runs:
                member.kill()

    def wants_a_person(self) -> list[str]:
        """The processes that ended with an exit code that a restart does not fix."""
        return [f"{name} ended with {code}" for name, code in self.ends if code not in NO_PERSON]


def planted(bug: str | None, entry: tuple[str, ...]) -> tuple[str, ...]:
    """The entry that runs another one with a planted bug."""
    return entry if bug is None else ("tests.prove.planted", bug, *entry)


@asynccontextmanager
async def running(member: Member) -> AsyncIterator[Member]:
    """Start a process, and end it in order at the end of the context.

    Raises:
        ProcessError: it ended before; any error of the context gets the last lines of its log as a note.
    """
    member.start()
    try:
        yield member
        if not member.runs:
            raise ProcessError(f"{member.name} ended with {member.wait()}")  # noqa: TRY301 for the note below
    except Exception as error:
        error.add_note(f"The last lines of {member.name}:\n{program.last_lines(member.log, _TAIL)}")
        raise
    finally:
        await asyncio.to_thread(_end, member)


async def listening(member: Member) -> None:
    """Wait until a process listens on its port.

    Raises:
        AssertionError: it does not listen in time.
    """

    async def listens() -> bool:
        return answers(member.port)

    await until(listens, _START_SECONDS, f"{member.name} to listen: {member.log}")


def _end(member: Member) -> int:
    try:
        return member.terminate()
    except ProcessError:
        return -signal.SIGKILL


def _parse(line: bytes) -> dict[str, Any]:
    try:
        parsed = from_json(line)
    except ValueError:
        parsed = None
    return parsed if isinstance(parsed, dict) else {"event": line.decode(errors="replace")}
