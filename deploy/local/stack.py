"""The supervisor's process: brings the stack up piece by piece, keeps it up, and takes it down in order."""

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
    """What a start was asked for: a broker of its own, a port for the APIs (None: as the environment says).

    With `reload`, processes restart when their source files change.
    """

    kafka: Kafka | None = None
    port: int | None = None
    reload: bool = False


def run(layout: Layout, wish: Wish) -> int:
    """Be the supervisor of a data directory until SIGTERM or SIGINT; answers the exit code."""
    try:
        with state.locked(layout):
            return asyncio.run(_Stack(layout).run(wish))
    except AlreadyRunsError:
        print("another supervisor holds this data directory", file=sys.stderr)
        return 1


class _Stack:
    """One life of the stack, told to others through the state file."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._state = StackState(os.getpid(), Phase.STARTING)
        self._supervisor = Supervisor(layout.logs, self._members_changed)
        self._told_to_stop = asyncio.Event()
        self._told_again = asyncio.Event()

    async def run(self, wish: Wish) -> int:
        """From nothing to ready, and back to nothing when told to."""
        self._tell(Phase.STARTING)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._on_signal)
        try:
            await self._unless_told_to_stop(self._bring_up(wish))
        except (StartError, KeysError, OSError) as error:
            await self._supervisor.stop()
            self._tell(Phase.FAILED, str(error))
            return 1
        left = ""
        if not self._told_to_stop.is_set():
            self._tell(Phase.READY, self._state.message)
            watching = asyncio.create_task(reload.watch(self._supervisor.restart)) if wish.reload else None
            await self._told_to_stop.wait()
            if watching is not None:
                watching.cancel()
            self._tell(Phase.STOPPING)
            left = await self._drain()
        self._tell(Phase.STOPPING, left)
        await self._supervisor.stop()
        self._tell(Phase.STOPPED, left)
        return 0

    async def _bring_up(self, wish: Wish) -> None:
        # a function that may wait for Maven and initdb, and starts no process that has to last
        chosen = await asyncio.to_thread(pieces.choose, self._layout, wish.kafka, wish.port)
        env = pieces.settings(self._layout, chosen)
        environment.write(self._layout, env)
        self._tell(Phase.STARTING, chosen.describe())
        await self._start_servers(chosen)
        await asyncio.gather(databases.prepare(chosen), _make_topics(chosen.bootstrap))
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
        """The broker. An embedded one that died comes back empty: topics are made anew, workers join anew."""

        async def revived() -> None:
            await _make_topics(broker.bootstrap)
            self._supervisor.restart([f"{service}-worker" for service in SERVICES])

        return Member(
            "broker", broker.program, broker.is_ready, revived if isinstance(broker, EmbeddedBroker) else None
        )

    async def _drain(self) -> str:
        """Wait, for a bounded time, until what was published is handled. A second signal ends the wait.

        Answers what was not handled, in words; nothing when all was.
        """
        command = [sys.executable, "-m", "deploy.local", "drain", "--data", str(self._layout.root)]
        process = await asyncio.create_subprocess_exec(
            *(*command, "--timeout", str(DRAIN_SECONDS)),
            cwd=REPOSITORY,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        again = asyncio.create_task(self._told_again.wait())
        done = asyncio.create_task(process.communicate())
        await asyncio.wait([again, done], return_when=asyncio.FIRST_COMPLETED)
        again.cancel()
        if not done.done():
            with suppress(ProcessLookupError):
                process.kill()
            await done
            return "the wait for it was cut short"
        _, words = done.result()
        return "" if process.returncode == 0 else words.decode(errors="replace").strip()

    async def _unless_told_to_stop(self, work: Coroutine[None, None, None]) -> None:
        """Do the work, but leave it when told to stop."""
        task = asyncio.create_task(work)
        told = asyncio.create_task(self._told_to_stop.wait())
        await asyncio.wait([task, told], return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return
        await task

    def _on_signal(self) -> None:
        (self._told_again if self._told_to_stop.is_set() else self._told_to_stop).set()

    def _members_changed(self, members: Sequence[MemberState]) -> None:
        known = {(member.name, member.phase, member.message) for member in self._state.members}
        for member in members:
            if (member.name, member.phase, member.message) not in known:
                _log(f"{member.name} {member.phase} {member.message}")
        self._state = StackState(self._state.pid, self._state.phase, self._state.message, members)
        state.write(self._layout, self._state)

    def _tell(self, phase: Phase, message: str = "") -> None:
        _log(f"{phase} {message}")
        self._state = StackState(self._state.pid, phase, message, self._state.members)
        state.write(self._layout, self._state)


def _log(words: str) -> None:
    """One line to the supervisor's own log."""
    print(datetime.now(UTC).isoformat(timespec="milliseconds"), words, flush=True)


def _postgres(server: Postgres) -> Member:
    return Member("postgres", server.program, server.is_ready)


async def _make_topics(bootstrap: str) -> None:
    try:
        await topics.create(bootstrap)
    except (topics.TopicError, KafkaError) as error:
        raise StartError(f"Kafka at {bootstrap}: {error}") from error
