"""The worker: a Faust app that hosts the inflow, the agent over batches, the relay and the jobs.

Faust's own consumer, producer and web server stay off: they acknowledge what failed (see
docs/architecture.md). Its agents, timers and services are what is used.
"""

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, cast

import faust
import structlog
from faust.app.base import BootStrategy

from shared import telemetry
from shared.http import idempotency
from shared.messaging import dead_letters, deadline, erasure, inbox, kafka, outbox, waiting
from shared.messaging.apart import Apart
from shared.messaging.application import Handle, HandlerBrokenError
from shared.messaging.batch import Batch, Here
from shared.messaging.culprits import Suspects
from shared.messaging.delivery import Delivery
from shared.messaging.erasure import EraseOwn
from shared.messaging.inflow import Inflow, PositionLostError
from shared.messaging.kafka import Broker
from shared.messaging.positions import Group, PositionMovedError
from shared.messaging.relay import Relay
from shared.postgres.pool import Pool, is_transient

EXIT_RESTART: Final = 70
"""Something unexpected happened: start me again, I go on from the stored position."""
EXIT_DECIDE: Final = 78
"""A person has to decide: the last line of the log says what, and with which command."""

_STOP_SECONDS: Final = 8.0
_REPORT_SECONDS: Final = 5.0
# Batches live as long as their transaction: collecting the youngest generation more rarely
# spares walking them over and over.
_GARBAGE_THRESHOLD: Final = 200_000

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Subscription:
    """The event types of a topic that a service handles; others on it are counted and skipped."""

    topic: str
    types: frozenset[str]


@dataclass(frozen=True, slots=True)
class Job:
    """Work that is done every now and then; safe on several workers at once."""

    name: str
    every: timedelta
    run: Callable[[Pool, datetime], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class DueWork:
    """Work that a service does besides handling records; `count` returns how much of it is due now."""

    name: str
    count: Callable[[Pool], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """What a service's worker does: which events go to its handler, and its jobs.

    `due_work` is what has to be done before the service counts as idle, besides its records and its outbox.
    `erase` removes what the service itself keeps of erased customers; its handler calls `erasure.apply` with it.
    `decodes_apart`: purchases of large batches are decoded in a process of their own, which pays where a purchase
    costs much else besides.
    """

    service: str
    subscriptions: tuple[Subscription, ...]
    handle: Handle
    jobs: tuple[Job, ...] = ()
    due_work: tuple[DueWork, ...] = ()
    erase: EraseOwn = erasure.erase_nothing
    decodes_apart: bool = False

    @property
    def wanted(self) -> frozenset[str]:
        """Every event type that is handled."""
        return frozenset[str]().union(*(one.types for one in self.subscriptions))

    @property
    def topics(self) -> tuple[str, ...]:
        """Every topic that is read."""
        return tuple(one.topic for one in self.subscriptions)

    @property
    def group(self) -> str:
        """The name of the consumer group."""
        return f"wafa-{self.service}"


@dataclass(frozen=True, slots=True)
class Retention:
    """How long records are kept that had no effect: refused ones, and those that wait for what they are about."""

    dead_letters: timedelta = timedelta(days=90)
    waiting: timedelta = timedelta(days=400)


def _platform_jobs(spec: WorkerSpec, retention: Retention) -> tuple[Job, ...]:
    return (
        Job("forget the inbox", timedelta(hours=6), inbox.forget),
        Job("forget idempotency keys", timedelta(hours=6), idempotency.forget),
        Job("forget dead letters", timedelta(hours=1), partial(dead_letters.forget, kept_for=retention.dead_letters)),
        Job("forget what waits", timedelta(hours=1), partial(waiting.forget, kept_for=retention.waiting)),
        Job("finish erasures", timedelta(seconds=30), partial(erasure.finish, erase_own=spec.erase)),
        Job("measure the outbox", timedelta(seconds=5), outbox.measure),
    )


class _Boot(BootStrategy):
    """Faust without its Kafka and its web server."""

    enable_kafka = False
    enable_web = False


class _App(faust.App):
    """A Faust app that keeps no files: it has no tables, and its working folder may be read-only."""

    logger = logging.getLogger("faust.app")  # not this module's: what it says of itself is Faust's

    def _create_directories(self) -> None:
        pass


@dataclass(slots=True)
class Worker:
    """A running worker; `batch_size` is the most records of one transaction, `lanes` the most transactions at once."""

    spec: WorkerSpec
    pool: Pool
    broker: Broker
    batch_size: int = 500
    lanes: int = 2
    retention: Retention = field(default_factory=Retention)
    stopped: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _decision: str | None = field(default=None, init=False)
    _inflow: Inflow | None = field(default=None, init=False)
    _deliveries: list[Delivery] = field(default_factory=list[Delivery], init=False)
    _relay: Relay | None = field(default=None, init=False)

    async def is_ready(self) -> bool:
        """Whether it has joined its group and neither a batch nor the relay is being tried again."""
        if self._inflow is None or self._relay is None:
            return False
        return self._inflow.is_assigned and self._relay.healthy and all(one.healthy for one in self._deliveries)

    def stop(self) -> None:
        """Finish the batch in flight and end."""
        self.stopped.set()

    async def run(self) -> int:
        """Work until stopped; returns the exit code of the process.

        Raises:
            OSError, aiokafka.errors.KafkaError, asyncpg.PostgresError: not even the start succeeded.
        """
        group = Group(await kafka.cluster_id(self.broker), self.spec.group)
        decoder = Apart(self.spec.wanted) if self.spec.decodes_apart else Here(self.spec.wanted)
        inflow = Inflow(self.broker, self.pool, group, decoder, self.batch_size)
        await inflow.start()
        suspects = Suspects()
        self._deliveries = [Delivery(self.pool, group, self.spec.handle, suspects=suspects) for _ in range(self.lanes)]
        relay = Relay.to(self.broker, self.pool)
        self._inflow, self._relay = inflow, relay
        app, lanes = self._host(inflow, relay)
        gc.collect()
        gc.freeze()
        gc.set_threshold(_GARBAGE_THRESHOLD)
        await app.start()
        running = [
            self._guard("relay", relay.run()),
            self._guard("inflow", inflow.run(self.spec.topics, *(lane.put for lane in lanes))),
        ]
        _log.info("worker_started", cluster_id=group.cluster_id, group=group.name, topics=self.spec.topics)
        await self.stopped.wait()
        await self._shut_down(app, inflow, relay, running)
        await decoder.close()
        if self._decision is None:
            _log.info("worker_stopped")
            return 0
        _log.critical("worker_needs_a_decision", decision=self._decision)
        return EXIT_DECIDE

    def _host(self, inflow: Inflow, relay: Relay) -> tuple[faust.App, list[Any]]:
        """The Faust app: for each lane an agent with one batch in its channel, and a timer for each job."""
        app = _App(f"wafa-{self.spec.service}", store="memory://", web_enabled=False, autodiscover=False)
        app.boot_strategy = _Boot(app, enable_web=False)
        channels = [self._lane(app, number, inflow, relay) for number in range(self.lanes)]
        for job in (*_platform_jobs(self.spec, self.retention), *self.spec.jobs):
            app.timer(interval=job.every.total_seconds(), on_leader=False, name=job.name)(self._job(job))
        app.timer(interval=_REPORT_SECONDS, on_leader=False, name="report positions")(inflow.report)
        # Nobody else does without Faust's consumer: agents would wait for ever.
        app.flow_control.resume()
        return app, channels

    def _lane(self, app: faust.App, number: int, inflow: Inflow, relay: Relay) -> Any:  # noqa: ANN401 Faust's, untyped
        """A channel for one batch, and the agent that applies what comes through it."""
        channel = app.channel(maxsize=1)
        delivery = self._deliveries[number]

        async def apply(stream: Any) -> None:  # noqa: ANN401 see above
            async for one in stream:
                await self._survive("agent", _apply(one, inflow, delivery, relay))

        app.agent(channel, name=f"{self.spec.service}.batches.{number}", concurrency=1)(apply)
        return channel

    def _job(self, job: Job) -> Callable[[], Coroutine[Any, Any, None]]:
        async def run() -> None:
            try:
                with deadline.limit(deadline.FOLD_SECONDS):
                    await job.run(self.pool, datetime.now(UTC))
            except Exception as error:  # noqa: BLE001 see `_survive`
                if not is_transient(error):
                    self._fail(f"job {job.name}", error)
                _log.warning("job_is_retried", job=job.name, failure=type(error).__name__, error=str(error))

        return run

    def _guard(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return asyncio.create_task(self._survive(name, work), name=name)

    async def _survive(self, name: str, work: Awaitable[None]) -> None:
        """Nothing that goes wrong outside a handler is survived: the supervisor starts a clean process."""
        try:
            await work
        except (PositionLostError, HandlerBrokenError) as error:
            self._decision = str(error)
            self.stopped.set()
        except Exception as error:  # noqa: BLE001 the last line of defence
            self._fail(name, error)

    def _fail(self, name: str, error: Exception) -> None:
        # Of PostgreSQL's messages the first line: its details quote rows.
        said = str(error).partition("\n")[0]
        _log.critical("worker_failed", part=name, error=said, **telemetry.trace(error))
        os._exit(EXIT_RESTART)

    async def _shut_down(
        self, app: faust.App, inflow: Inflow, relay: Relay, running: Sequence[asyncio.Task[None]]
    ) -> None:
        """Let the batch in flight and the relay's chunk finish, within a bounded time."""
        inflow.stopping = True
        relay.stop()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                inflow.rewind()  # what is queued or tried again is stale now: the next worker reads it
                await inflow.idle()
                await asyncio.wait(running)
        except TimeoutError:
            _log.warning("worker_stopped_late", seconds=_STOP_SECONDS)
        for task in running:
            task.cancel()
        await inflow.close()
        try:
            await asyncio.wait_for(cast("Awaitable[None]", app.stop()), timeout=_STOP_SECONDS)
        except TimeoutError:
            _log.warning("faust_stopped_late", seconds=_STOP_SECONDS)


async def _apply(one: Batch, inflow: Inflow, delivery: Delivery, relay: Relay) -> None:
    with inflow.applying(one):
        try:
            applied = await delivery.deliver(one, inflow.is_stale)
        except PositionMovedError as error:
            _log.warning("batch_was_handled_elsewhere", error=str(error))
            inflow.rewind()
            return
    if applied:
        inflow.applied(one)
        relay.woken.set()


def stop_on_signals(worker: Worker) -> None:
    """SIGTERM and SIGINT stop the worker in order."""
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, worker.stop)
