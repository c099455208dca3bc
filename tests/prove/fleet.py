"""The processes of a run: started as production starts them, and started again whenever they end."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic_core import from_json

from deploy.local import program
from deploy.local.layout import REPOSITORY
from deploy.local.ports import free_port
from deploy.local.program import Program
from shared.messaging.worker import EXIT_RESTART

_PAUSE: Final = 0.2
NO_PERSON: Final = frozenset({0, -signal.SIGKILL, EXIT_RESTART})
"""The ways to end that need nobody: as told, killed by us, or to be started again."""


@dataclass(eq=False, slots=True)
class Member:
    """One process to keep running; `entry` is what `python -m` runs."""

    name: str
    service: str
    entry: tuple[str, ...]
    env: Mapping[str, str]
    folder: Path
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    is_kept: bool = field(default=True, init=False)
    """Whether it is started again when it ends."""
    started_at: float = field(default=0.0, init=False)

    @property
    def log(self) -> Path:
        """What it printed, of all its lives."""
        return self.folder / f"{self.name}.log"

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self.process is not None
        return self.process.pid

    @property
    def runs(self) -> bool:
        """Whether the process is there."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start it; it does not outlive this process."""
        argv = (sys.executable, "-m", *self.entry)
        self.process = program.start(Program(self.name, argv, self.env, cwd=REPOSITORY), self.log)
        self.started_at = time.monotonic()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it is there."""
        if self.runs:
            os.kill(self.pid, number)

    def said_since(self, position: int) -> list[dict[str, Any]]:
        """The log lines after a position in bytes."""
        with self.log.open("rb") as file:
            file.seek(position)
            lines = file.read().splitlines()
        found: list[dict[str, Any]] = []
        for line in lines:
            try:
                found.append(from_json(line))
            except ValueError:
                found.append({"event": line.decode(errors="replace")})
        return [one for one in found if isinstance(one, dict)]

    def log_size(self) -> int:
        """Where the log ends now, in bytes."""
        return self.log.stat().st_size if self.log.exists() else 0


@dataclass(slots=True)
class Fleet:
    """All processes, and how each of their lives ended."""

    env: Mapping[str, str]
    folder: Path
    members: list[Member] = field(default_factory=list)
    ends: list[tuple[str, int]] = field(default_factory=list)
    """Name and exit code."""
    planted: str | None = None
    """The bug that workers are started with."""

    def add(self, name: str, service: str, entry: tuple[str, ...], env: Mapping[str, str]) -> Member:
        """Start a process."""
        member = Member(name, service, entry, {**self.env, **env}, self.folder)
        self.members.append(member)
        member.start()
        return member

    def add_worker(self, service: str, name: str) -> Member:
        """Start a worker of a service."""
        entry = planted(self.planted, (f"services.{service}", "worker"))
        probes = {f"WAFA_{service.upper()}_PROBE_PORT": str(free_port())}
        return self.add(name, service, entry, probes)

    def of(self, service: str) -> list[Member]:
        """The running members of a service that are kept."""
        return [one for one in self.members if one.service == service and one.is_kept and one.runs]

    async def keep(self) -> None:
        """Start again what ended, until cancelled."""
        while True:
            for one in self.members:
                if one.is_kept and one.process is not None and (code := one.process.poll()) is not None:
                    self.ends.append((one.name, code))
                    one.start()
            await asyncio.sleep(_PAUSE)

    async def end(self, member: Member, seconds: float = 25.0) -> int:
        """Ask a process to end, for good; answers its exit code (-9 when it had to be killed)."""
        member.is_kept = False
        member.signal(signal.SIGTERM)
        assert member.process is not None
        deadline = time.monotonic() + seconds
        while (code := member.process.poll()) is None:
            if time.monotonic() > deadline:
                member.process.kill()
            await asyncio.sleep(0.05)
        self.ends.append((member.name, code))
        return code

    async def end_workers(self) -> dict[str, int]:
        """Ask all workers to end, for good; answers their exit codes."""
        running = [one for one in self.members if one.entry[-1] == "worker" and one.is_kept]
        codes = await asyncio.gather(*map(self.end, running))
        return {one.name: code for one, code in zip(running, codes, strict=True)}

    def stop(self) -> None:
        """End all of them, at once."""
        for one in self.members:
            one.is_kept = False
            if one.process is not None and one.process.poll() is None:
                one.process.kill()
                one.process.wait()

    def wants_a_person(self) -> list[str]:
        """The ends that nobody asked for and that a supervisor cannot mend."""
        return [f"{name} ended with {code}" for name, code in self.ends if code not in NO_PERSON]


def planted(bug: str | None, entry: tuple[str, ...]) -> tuple[str, ...]:
    """What is run to run an entry with a bug in it."""
    return entry if bug is None else ("tests.prove.planted", bug, *entry)
