"""The supervisor process: starts the stack step by step, keeps it running, and stops it in order."""

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from aiokafka.errors import KafkaError

from deploy import topics
from deploy.keys import KeysError
from deploy.local import databases, environment, pieces, reload, state
from deploy.local.broker import EmbeddedBroker
from deploy.local.kafka import ApacheKafka
from deploy.local.layout import REPOSITORY, Layout
from deploy.local.pieces import Kafka, Pieces
from deploy.local.postgres import Postgres
from deploy.local.program import StartError
from deploy.local.state import AlreadyRunsError, MemberState, Phase, StackState
from deploy.local.supervisor import Member, Supervisor
from services import SERVICES

READY_SECONDS = 90.0
DRAIN_SECONDS = 60.0


@dataclass(frozen=True)
class Wish:
    """The options of a start: a broker to start, a port for the APIs (None: from the environment).

    With `reload`, processes restart when their source files change.
    """

    kafka: Kafka | None = None
    port: int | None = None
    reload: bool = False


def run(layout: Layout, wish: Wish) -> int:
    """Run the supervisor of a data directory until SIGTERM or SIGINT; returns the exit code."""
    try:
        with state.locked(layout):
            return asyncio.run(_Stack(layout).run(wish))
    except AlreadyRunsError:
        print("another supervisor holds this data directory", file=sys.stderr)
        return 1


class _Stack:
    """One run of the stack; its state file informs the commands."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._state = StackState(os.getpid(), Phase.STARTING)
        self._supervisor = Supervisor(layout.logs, self._members_changed)
        self._stop_asked = asyncio.Event()
        self._asked_again = asyncio.Event()

    async def run(self, wish: Wish) -> int:
        """Start the stack, wait for a signal, and stop it."""
        self._tell(Phase.STARTING)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._on_signal)
        try:
            await self._unless_stopped(self._bring_up(wish))
        except (StartError, KeysError, OSError) as error:
            await self._supervisor.stop()
            self._tell(Phase.FAILED, str(error))
            return 1
        left = ""
        if not self._stop_asked.is_set():
            self._tell(Phase.READY, self._state.message)
            watching = asyncio.create_task(reload.watch(self._supervisor.restart)) if wish.reload else None
            await self._stop_asked.wait()
            if watching is not None:
                watching.cancel()
            self._tell(Phase.STOPPING)
            left = await self._drain()
        self._tell(Phase.STOPPING, left)
        await self._supervisor.stop()
        self._tell(Phase.STOPPED, left)
        return 0

    async def _bring_up(self, wish: Wish) -> None:
        # In a thread: it may wait for Maven and initdb. It starts no process that has to outlive the thread.
        chosen = await asyncio.to_thread(pieces.choose, self._layout, wish.kafka, wish.port)
        env = pieces.settings(self._layout, chosen)
        environment.write(self._layout, env)
        self._tell(Phase.STARTING, chosen.describe())
        await self._start_servers(chosen)
        await asyncio.gather(databases.prepare(chosen), _create_topics(chosen.bootstrap))
        workers = [pieces.worker(service, chosen, env) for service in SERVICES]
        await asyncio.gather(
            self._supervisor.start([pieces.mail(chosen)], READY_SECONDS),
            self._supervisor.start([pieces.gateway(chosen, env)], READY_SECONDS),
            self._supervisor.start(workers, READY_SECONDS),
        )

    async def _start_servers(self, chosen: Pieces) -> None:
        if chosen.postgres is not None:
            await self._supervisor.start([_postgres(chosen.postgres)], READY_SECONDS)
        if isinstance(chosen.broker, ApacheKafka):
            await asyncio.to_thread(chosen.broker.prepare)
        if chosen.broker is not None:
            await self._supervisor.start([self._broker(chosen.broker)], READY_SECONDS)

    def _broker(self, broker: EmbeddedBroker | ApacheKafka) -> Member:
        """The broker. An embedded broker restarts empty: topics are created again, workers join again."""

        async def revived() -> None:
            await _create_topics(broker.bootstrap)
            self._supervisor.restart([f"{service}-worker" for service in SERVICES])

        return Member(
            "broker", broker.program, broker.is_ready, revived if isinstance(broker, EmbeddedBroker) else None
        )

    async def _drain(self) -> str:
        """Wait for a limited time until all published events are handled. A second signal ends the waiting.

        Returns a description of what was not handled; empty if everything was.
        """
        command = [sys.executable, "-m", "deploy.local", "drain", "--data", str(self._layout.root)]
        process = await asyncio.create_subprocess_exec(
            *(*command, "--timeout", str(DRAIN_SECONDS)),
            cwd=REPOSITORY,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        again = asyncio.create_task(self._asked_again.wait())
        done = asyncio.create_task(process.communicate())
        await asyncio.wait([again, done], return_when=asyncio.FIRST_COMPLETED)
        again.cancel()
        if not done.done():
            with suppress(ProcessLookupError):
                process.kill()
            await done
            return "the wait was cut short"
        _, words = done.result()
        return "" if process.returncode == 0 else words.decode(errors="replace").strip()

    async def _unless_stopped(self, work: Coroutine[None, None, None]) -> None:
        """Do the work, but cancel it when a signal asks to stop."""
        task = asyncio.create_task(work)
        stop = asyncio.create_task(self._stop_asked.wait())
        await asyncio.wait([task, stop], return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return
        await task

    def _on_signal(self) -> None:
        (self._asked_again if self._stop_asked.is_set() else self._stop_asked).set()

    def _members_changed(self, members: Sequence[MemberState]) -> None:
        before = {(member.name, member.phase, member.message) for member in self._state.members}
        for member in members:
            if (member.name, member.phase, member.message) not in before:
                _log(f"{member.name} {member.phase} {member.message}")
        self._state = StackState(self._state.pid, self._state.phase, self._state.message, members)
        state.write(self._layout, self._state)

    def _tell(self, phase: Phase, message: str = "") -> None:
        _log(f"{phase} {message}")
        self._state = StackState(self._state.pid, phase, message, self._state.members)
        state.write(self._layout, self._state)


def _log(words: str) -> None:
    """Write a line to the supervisor's log."""
    print(datetime.now(UTC).isoformat(timespec="milliseconds"), words, flush=True)


def _postgres(server: Postgres) -> Member:
    return Member("postgres", server.program, server.is_ready)


async def _create_topics(bootstrap: str) -> None:
    try:
        await topics.create(bootstrap)
    except (topics.TopicError, KafkaError) as error:
        raise StartError(f"Kafka at {bootstrap}: {error}") from error
