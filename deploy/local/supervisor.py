"""Keeps programs running: starts them in order, restarts those that end, stops them in reverse order."""

import asyncio
import contextlib
import json
import time
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from deploy.local.program import Program, StartError, last_lines
from deploy.local.state import MemberState, Phase

NEEDS_A_PERSON = 78  # exit code: a restart would end the same way; the log says what a person has to decide
GIVEN_UP = 5  # restarts of a member before it is first ready, after which the start of the stack fails
POLL_SECONDS = 0.05
HIDDEN = frozenset({"event", "exception", "level", "logger", "service", "time"})  # of a log line
LARGEST_LOG = 20 * 2**20  # bytes; a larger log is set aside when its program starts


@dataclass(frozen=True)
class Backoff:
    """Seconds before the next start: doubled with each failure in a row, reset after a healthy run."""

    first: float = 0.5
    most: float = 30.0
    healthy: float = 30.0

    def delay(self, failures: int) -> float:
        """The pause after a number of failures in a row (1 or more)."""
        return min(self.most, self.first * 2.0 ** min(failures - 1, 30))


@dataclass(frozen=True)
class Member:
    """One program to keep running.

    `program` is called at each start. `is_ready` may block for a moment. `revived` runs when the member is ready again
    after a restart.
    """

    name: str
    program: Callable[[], Program]
    is_ready: Callable[[], bool]
    revived: Callable[[], Awaitable[None]] | None = None


class Supervisor:
    """Runs members, stage by stage. `changed` is called with every change of state."""

    def __init__(
        self, logs: Path, changed: Callable[[Sequence[MemberState]], None], backoff: Backoff | None = None
    ) -> None:
        self._logs = logs
        self._changed = changed
        self._backoff = backoff or Backoff()
        self._stages: list[list[_Keeper]] = []

    async def start(self, members: Sequence[Member], seconds: float) -> None:
        """Start a stage and wait until all of it is ready.

        Raises:
            StartError: a member failed for good, or was not ready within `seconds`.
        """
        stage = [_Keeper(member, self._logs / f"{member.name}.log", self._report, self._backoff) for member in members]
        self._stages.append(stage)
        for keeper in stage:
            keeper.task = asyncio.create_task(keeper.keep(), name=keeper.member.name)
        deadline = time.monotonic() + seconds
        while not all(keeper.state.phase is Phase.READY for keeper in stage):
            for keeper in stage:
                if keeper.state.phase is Phase.FAILED or keeper.state.restarts >= GIVEN_UP:
                    raise StartError(f"{keeper.member.name} does not start: {keeper.state.message}")
                if keeper.task is not None and keeper.task.done():
                    await keeper.task
            if time.monotonic() > deadline:
                late = [keeper.member.name for keeper in stage if keeper.state.phase is not Phase.READY]
                raise StartError(f"not ready within {seconds:.0f} s: {', '.join(late)}; see {self._logs}")
            await asyncio.sleep(POLL_SECONDS)

    def restart(self, names: Sequence[str]) -> None:
        """Restart members, also those that wait for their next start or were given up."""
        for keeper in self._keepers():
            if keeper.member.name in names:
                keeper.restart()

    async def stop(self) -> None:
        """Stop all members, the stage started last first."""
        for stage in reversed(self._stages):
            await asyncio.gather(*(keeper.stop() for keeper in stage))

    def _keepers(self) -> list["_Keeper"]:
        return [keeper for stage in self._stages for keeper in stage]

    def _report(self) -> None:
        self._changed([keeper.state for keeper in self._keepers()])


class _Keeper:
    """Runs one member."""

    def __init__(self, member: Member, log: Path, report: Callable[[], None], backoff: Backoff) -> None:
        self.member = member
        self.state = MemberState(member.name, Phase.STARTING)
        self.task: asyncio.Task[None] | None = None
        self._log = log
        self._report = report
        self._backoff = backoff
        self._program = member.program()
        self._process: Process | None = None
        self._stopping = False
        self._restart_asked = asyncio.Event()

    async def keep(self) -> None:
        """Start the program, and restart it whenever it ends, until `stop` or until a person has to decide."""
        failures = 0
        while not self._stopping:
            self._restart_asked.clear()
            began = time.monotonic()
            code = await self._run_once()
            if self._stopping:
                return
            restarts = self.state.restarts + 1
            if self._restart_asked.is_set():
                failures = 0
                self._become(MemberState(self.member.name, Phase.RESTARTING, restarts=restarts))
                continue
            if code == NEEDS_A_PERSON:
                words = last_words(self._log)
                self._become(replace(self.state, phase=Phase.FAILED, pid=None, message=words))
                return
            failures = 1 if time.monotonic() - began > self._backoff.healthy else failures + 1
            words = f"ended with code {code}: {last_words(self._log)}"
            self._become(MemberState(self.member.name, Phase.RESTARTING, restarts=restarts, message=words))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._restart_asked.wait(), self._backoff.delay(failures))

    def restart(self) -> None:
        """Restart the program at once: end it if it runs, or end the pause before its next start."""
        if self._stopping:
            return
        self._restart_asked.set()
        self.ask_to_end()
        if self.task is not None and self.task.done():
            self.task = asyncio.create_task(self.keep(), name=self.member.name)

    def ask_to_end(self) -> None:
        """Send the program its stop signal if it is running."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(self._program.stop_signal)

    async def stop(self) -> None:
        """Stop the program by its signal; kill it after its grace period."""
        self._stopping = True
        self._become(replace(self.state, phase=Phase.STOPPING))
        self.ask_to_end()
        process = self._process
        if process is not None:
            try:
                await asyncio.wait_for(process.wait(), self._program.grace)
            except TimeoutError:
                process.kill()
                await process.wait()
        if self.task is not None:
            self.task.cancel()  # it may be waiting between two starts
            await asyncio.gather(self.task, return_exceptions=True)
        self._become(replace(self.state, phase=Phase.STOPPED, pid=None))

    async def _run_once(self) -> int:
        """Start the program, watch until it is ready, and wait for its end; returns the exit code."""
        self._program = self.member.program()
        process = await _spawn(self._program, self._log)
        self._process = process
        self._become(replace(self.state, pid=process.pid))
        watch = asyncio.create_task(self._watch())
        try:
            return await process.wait()
        finally:
            watch.cancel()

    async def _watch(self) -> None:
        """Report the program as ready once it is; after a restart `revived` runs first."""
        while not await asyncio.to_thread(self.member.is_ready):  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(POLL_SECONDS)
        if self.state.restarts > 0 and self.member.revived is not None:
            try:
                await self.member.revived()
            except StartError as error:
                self._become(replace(self.state, message=str(error)))
                self.ask_to_end()  # so that it is restarted
                return
        self._become(replace(self.state, phase=Phase.READY, message=""))

    def _become(self, state: MemberState) -> None:
        self.state = state
        self._report()


async def _spawn(program: Program, log: Path) -> Process:
    with _open(log) as output:
        return await asyncio.create_subprocess_exec(
            *program.command(),
            env=program.environment(),
            cwd=program.cwd,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )


def _open(log: Path) -> BinaryIO:
    """Open a log for appending; a log that is too large is moved aside first."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > LARGEST_LOG:
        log.replace(log.with_suffix(".old.log"))
    return log.open("ab")


def last_words(log: Path) -> str:
    """The last line of a program's log; of a JSON line the event and its fields."""
    line = last_lines(log, 1)
    try:
        document = json.loads(line)
        event = document["event"]
    except (ValueError, TypeError, KeyError):
        return line
    words = [str(event), *(f"{name}={value}" for name, value in document.items() if name not in HIDDEN)]
    return " ".join(" ".join(words).split())
