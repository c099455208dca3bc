"""The worker: inflow, lanes, relay and jobs, put together and ended in order.

Its `Platform` (host, clock, exit) can be exchanged: the simulation runs the same worker on a host of its own.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

import structlog

from shared import telemetry
from shared.contracts.registry import TYPES
from shared.http import idempotency
from shared.messaging import dead_letters, deadline, erasure, inbox, outbox, waiting
from shared.messaging.apart import Apart
from shared.messaging.application import Handle, HandlerBrokenError
from shared.messaging.batch import Batch, Here, Offer
from shared.messaging.culprits import Suspects
from shared.messaging.delivery import Delivery
from shared.messaging.erasure import EraseOwn
from shared.messaging.host import FaustHost, Host
from shared.messaging.inflow import Inflow, PositionLostError
from shared.messaging.kafka import Broker
from shared.messaging.positions import Group, PositionMovedError
from shared.messaging.relay import Relay
from shared.messaging.reports import JobRun, Reports
from shared.postgres.pool import Pool, is_transient

EXIT_RESTART: Final = 70
"""Exit code of an unexpected failure: a restarted worker continues from the stored positions."""
EXIT_DECIDE: Final = 78
"""Exit code of a failure that a person has to resolve: the last line of the log says how."""

_STOP_SECONDS: Final = 8.0
_REPORT: Final = timedelta(seconds=5)
_REPORT_SECONDS: Final = _REPORT.total_seconds()

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Subscription:
    """The event types of a topic that a service handles; other types are counted and skipped."""

    topic: str
    types: frozenset[str]


def subscriptions(types: Iterable[str]) -> tuple[Subscription, ...]:
    """Subscriptions to event types, by the topics that the contract gives them."""
    by_topic: dict[str, set[str]] = {}
    for type_ in sorted(types):
        by_topic.setdefault(TYPES[type_].topic, set()).add(type_)
    return tuple(Subscription(topic, frozenset(names)) for topic, names in by_topic.items())


@dataclass(frozen=True, slots=True)
class Job:
    """Periodic work, safe to run on several workers at once."""

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
    """The worker of a service: the events that its handler gets, and its jobs.

    `due_work` has to be done before the service counts as idle, besides its records and its outbox.
    `erase` removes the service's own rows of erased customers; the handler passes it to `erasure.apply`.
    `decodes_apart` decodes the purchases of large batches in a second process, which pays where handling a purchase
    is expensive.
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
        """All event types that are handled."""
        return frozenset[str]().union(*(subscription.types for subscription in self.subscriptions))

    @property
    def topics(self) -> tuple[str, ...]:
        """All topics that are read."""
        return tuple(subscription.topic for subscription in self.subscriptions)

    @property
    def group(self) -> str:
        """The name of the consumer group."""
        return f"wafa-{self.service}"


@dataclass(frozen=True, slots=True)
class Retention:
    """How long records without an effect are kept: dead letters, and events that wait for another event."""

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


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Platform:
    """What a worker needs of its process: a host for lanes and timers, a clock, and `exit`, which ends it at once."""

    new_host: Callable[[str], Host] = FaustHost
    clock: Callable[[], datetime] = _utc_now
    exit: Callable[[int], object] = os._exit


@dataclass(slots=True)
class Worker:
    """A running worker: at most `batch_size` records in a transaction, and `lanes` concurrent transactions."""

    spec: WorkerSpec
    pool: Pool
    broker: Broker
    batch_size: int = 500
    lanes: int = 2
    retention: Retention = field(default_factory=Retention)
    platform: Platform = field(default_factory=Platform)
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    _decision: str | None = field(default=None, init=False)
    _inflow: Inflow | None = field(default=None, init=False)
    _deliveries: list[Delivery] = field(default_factory=list[Delivery], init=False)
    _relay: Relay | None = field(default=None, init=False)
    _reports: Reports = field(default_factory=Reports, init=False)

    async def is_ready(self) -> bool:
        """Whether it has joined its group, and neither a batch nor the relay is being retried."""
        if self._inflow is None or self._relay is None:
            return False
        return self._inflow.is_assigned and self._relay.healthy and all(lane.healthy for lane in self._deliveries)

    def stop(self) -> None:
        """Finish the batches in flight and end."""
        self.stopped.set()

    async def run(self) -> int:
        """Work until stopped; returns the exit code of the process.

        Raises:
            OSError, aiokafka.errors.KafkaError, asyncpg.PostgresError: the start failed.
        """
        group = Group(await self.broker.cluster_id(), self.spec.group)
        decoder = Apart(self.spec.wanted) if self.spec.decodes_apart else Here(self.spec.wanted)
        inflow = Inflow(self.broker, self.pool, group, decoder, self.batch_size)
        await inflow.start()
        relay = Relay.to(self.broker, self.pool)
        suspects = Suspects()
        self._deliveries = [
            Delivery(self.pool, group, self.spec.handle, self.platform.clock, suspects) for _ in range(self.lanes)
        ]
        self._inflow, self._relay = inflow, relay
        host = self.platform.new_host(self.spec.service)
        offers = [self._lane(host, number, inflow, relay) for number in range(self.lanes)]
        self._add_timers(host, inflow, group)
        await host.start()
        reading = partial(inflow.run, self.spec.topics, *offers)
        running = [self._guard("relay", relay.run), self._guard("inflow", reading)]
        _log.info("worker_started", cluster_id=group.cluster_id, group=group.name, topics=self.spec.topics)
        await self.stopped.wait()
        await self._shut_down(host, inflow, relay, running)
        await decoder.close()
        if self._decision is None:
            _log.info("worker_stopped")
            return 0
        _log.critical("worker_needs_a_decision", decision=self._decision)
        return EXIT_DECIDE

    def _lane(self, host: Host, number: int, inflow: Inflow, relay: Relay) -> Offer:
        delivery = self._deliveries[number]

        async def apply(batch: Batch) -> None:
            await self._survive("agent", partial(_apply, batch, inflow, delivery, relay))

        return host.lane(f"{self.spec.service}.batches.{number}", apply)

    def _add_timers(self, host: Host, inflow: Inflow, group: Group) -> None:
        for job in (*_platform_jobs(self.spec, self.retention), *self.spec.jobs):
            host.timer(job.name, job.every.total_seconds(), self._job(job))
        host.timer("report positions", _REPORT_SECONDS, inflow.report)

        async def report(pool: Pool, now: datetime) -> None:
            await self._reports.store(pool, group, inflow.ends(), now)

        host.timer("report to operators", _REPORT_SECONDS, self._job(Job("report to operators", _REPORT, report)))

    def _job(self, job: Job) -> Callable[[], Coroutine[None, None, None]]:
        async def run() -> None:
            started_at, started = self.platform.clock(), asyncio.get_running_loop().time()
            failure: str | None = None
            try:
                with deadline.limit(deadline.FOLD_SECONDS):
                    await job.run(self.pool, started_at)
            except Exception as error:  # noqa: BLE001 see `_survive`
                failure = type(error).__name__
                if is_transient(error):
                    _log.warning("job_is_retried", job=job.name, failure=type(error).__name__, error=str(error))
                else:
                    self._fail(f"job {job.name}", error)
            seconds = asyncio.get_running_loop().time() - started
            self._reports.add(JobRun(job.name, started_at, seconds, failure))

        return run

    def _guard(self, name: str, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        return asyncio.create_task(self._survive(name, work), name=name)

    async def _survive(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """End the process at a failure that nothing handled: the supervisor starts a clean one."""
        try:
            await work()
        except (PositionLostError, HandlerBrokenError) as error:
            self._decision = str(error)
            self.stopped.set()
        except Exception as error:  # noqa: BLE001 the last line of defense
            self._fail(name, error)

    def _fail(self, name: str, error: Exception) -> None:
        # The first line of PostgreSQL's messages only: their details quote rows.
        said = str(error).partition("\n")[0]
        _log.critical("worker_failed", part=name, error=said, **telemetry.trace(error))
        self.platform.exit(EXIT_RESTART)

    async def _shut_down(self, host: Host, inflow: Inflow, relay: Relay, running: Sequence[asyncio.Task[None]]) -> None:
        """Let the batches in flight and the relay's chunk finish, within a bounded time."""
        inflow.stopping = True
        relay.stop()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                inflow.rewind()  # batches that wait or are retried become stale: the next worker reads them
                await inflow.idle()
                await asyncio.wait(running)
        except TimeoutError:
            _log.warning("worker_stopped_late", seconds=_STOP_SECONDS)
        for task in running:
            task.cancel()
        await inflow.close()
        await host.stop()


async def _apply(batch: Batch, inflow: Inflow, delivery: Delivery, relay: Relay) -> None:
    with inflow.applying(batch):
        try:
            applied = await delivery.deliver(batch, inflow.is_stale)
        except PositionMovedError as error:
            _log.warning("batch_was_handled_elsewhere", error=str(error))
            inflow.rewind()
            return
    if applied:
        inflow.applied(batch)
        relay.woken.set()


def stop_on_signals(worker: Worker) -> None:
    """Let SIGTERM and SIGINT stop the worker in order."""
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, worker.stop)
