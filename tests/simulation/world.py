"""Plays a seed: services with two workers each, a shop that publishes, an office that decides, and faults."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from random import Random
from typing import Any, Final

from shared.messaging.application import Handle
from tests.simulation import referring
from tests.simulation.broker import Broker
from tests.simulation.databases import Databases
from tests.simulation.faults import Faults, Poison
from tests.simulation.history import Sent, history
from tests.simulation.loop import DeadlockError, Loop, Process, running
from tests.simulation.node import Address, Node, Service, StartFailedError, poisoned
from tests.simulation.office import Office, Sweep, draw
from tests.simulation.seams import seams
from tests.simulation.server import Server
from tests.simulation.trace import Trace

WORKERS: Final = 2
_CALM_SECONDS: Final = 6.0
_DRAIN_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.5

_REFER: Final = 0.08
"""The share of the seeds in which friends sign up."""

AHEAD_DAYS: Final = 1_000
"""Days ahead of the last sweeps: everything that falls due has happened by then, years too."""

UNFINISHED_SQL: Final = "SELECT count(*) FROM publication WHERE finished_at IS NULL"
_POSITIONS_SQL: Final = "SELECT topic, partition, next_offset FROM position"


def refers(seed: int) -> bool:
    """Whether friends sign up in the world of a seed."""
    return Random(f"{seed} referrals").random() < _REFER


@dataclass(eq=False)
class Slot:
    """A worker's place, in which a supervisor starts a new process when one ends."""

    service: Service
    number: int
    process: Process = field(default_factory=lambda: Process("none", state="dead"))
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    lives: int = 0


class World:
    """The simulated world of a seed; `violations` describes what went wrong."""

    def __init__(self, seed: int, databases: Databases) -> None:
        self.seed = seed
        # The third service makes a seed take longer: some have it.
        self.refers = refers(seed)
        self.services = [service for service in databases.services if self.refers or service.name != "referrals"]
        self.watches = {service.name: databases.watches[service.name] for service in self.services}
        self.violations: list[str] = []
        self.trace = Trace()
        self.loop = Loop(Random(f"{seed} order"), self.trace)
        self.chance = Random(f"{seed} world")
        self.faults = Faults(Random(f"{seed} faults"))
        self.poison = Poison.draw(Random(f"{seed} poison"))
        self.broker = Broker(self.loop, Random(f"{seed} broker"), self.chance.choice((1, 2, 2, 3)))
        # A relay without delay and small batches cause more concurrent transactions.
        pace = Random(f"{seed} pace")
        self.linger_ms, self.batch_size = pace.choice((0, 50)), pace.choice((3, 20))
        self.broker.fails, self.broker.gaps = self.faults.of_request, self.faults.mixture.gaps
        self.server = Server(self.loop, databases.watches["points"], databases.sessions)
        self.server.fault, self.server.crash = self.faults.of_statement, self.crash
        self.slots = [Slot(service, number) for service in self.services for number in range(WORKERS)]
        self.sent: list[Sent] = []
        [tiers] = [service for service in self.services if service.name == "tiers"]
        acts = draw(Random(f"{seed} acts"))
        self.office = Office(tiers.url, acts, self.broker.now, Random(f"{seed} office"))
        self.strikes: Counter[str] = Counter([f"poison {self.poison.kind}"] if self.poison is not None else [])
        self.until = self.ahead = self.broker.now()
        """The instants at which the last sweeps begin, and up to which they reach."""
        self._dead: list[Process] = []
        self._is_closing = self._is_over = False
        self._struck_at = 0
        self.loop.before = self._strike
        self.loop.set_exception_handler(self._failed)

    def play(self) -> None:
        """Play the seed until everything is handled or the time is up."""
        with seams(self):
            try:
                self.loop.run_until_complete(self._play())
            except DeadlockError:
                self.violations.append("no task can continue, and there is no timer")
            finally:
                self._bury()
                self.loop.close()

    async def _play(self) -> None:
        watching = asyncio.create_task(self.broker.watch_members(), name="members")
        for slot in self.slots:
            self.start(slot)
        process = Process("office")
        deciding = self.loop.create_task(self.office.run(), name="office", context=process.context)
        await self._publish()
        await asyncio.sleep(self.chance.uniform(0.0, _CALM_SECONDS))
        self.become_calm()
        await deciding
        if await self._drained():
            await self._sweep(process)
            await asyncio.sleep(1.0)
        self._is_closing = True
        for slot in self.slots:
            slot.stopped.set()
        await asyncio.sleep(1.0)
        watching.cancel()

    async def _sweep(self, process: Process) -> None:
        """Let everything happen that falls due ahead."""
        self.until = self.broker.now()
        if self.refers:
            [service] = [service for service in self.services if service.name == "referrals"]
            ending = referring.sweep(service.url, self.until + timedelta(days=AHEAD_DAYS))
            await self.loop.create_task(ending, name="sweep", context=process.context)
            await self._drained()
        sweeping = self.office.do(Sweep(AHEAD_DAYS))
        await self.loop.create_task(sweeping, name="sweep", context=process.context)
        self.ahead = self.broker.now() + timedelta(days=AHEAD_DAYS)
        await self._drained()

    async def _publish(self) -> None:
        """Publish the history."""
        self.sent = history(self.chance, self.chance.randint(25, 50), refers=self.refers)
        for record in self.sent:
            if self.chance.random() < 0.25:
                await asyncio.sleep(self.chance.choice((0.0, 0.02, 0.1, 0.4)))
            self.broker.append(record.topic, record.key, record.value, record.headers, record.width)

    def become_calm(self) -> None:
        """Stop all faults."""
        self.trace.note(self.loop.time(), "world", "calm")
        self.faults.calm = True
        self.broker.up = self.server.up = True
        for slot in self.slots:
            if slot.process.state == "stopped":
                self.loop.thaw(slot.process)

    async def _drained(self) -> bool:
        deadline = self.loop.time() + _DRAIN_SECONDS
        while (left := self.left()) and self.loop.time() < deadline:  # noqa: ASYNC110 there is no event to wait for
            await asyncio.sleep(_LOOK_SECONDS)
        if left:
            self.violations.append(f"not drained within {_DRAIN_SECONDS:.0f} seconds: {left}")
        return not left

    def left(self) -> list[str]:
        """The backlogs: unhandled records, unpublished rows and due work."""
        backlogs: list[str] = []
        for service in self.services:
            watch = self.watches[service.name]
            stored = {(row[0], row[1]): row[2] for row in watch.rows(_POSITIONS_SQL)}
            for place, log in sorted(self.broker.logs.items()):
                if place.topic in service.spec.topics and log.handled != stored.get(place):
                    backlogs.append(f"{service.name} is at {stored.get(place)} of {log.handled} in {place}")
            if service.name == "tiers" and (count := watch.value(UNFINISHED_SQL)):
                backlogs.append(f"{count} tier programs are not applied")
            if waiting := watch.value("SELECT count(*) FROM outbox"):
                backlogs.append(f"{waiting} rows of {service.name} are unpublished")
            backlogs += [
                f"{service.name} has {count} {work.name}"
                for work in service.spec.due_work
                if (count := watch.ask(work.count))
            ]
        return backlogs

    # Processes.

    def start(self, slot: Slot) -> None:
        """Start a process in a slot."""
        if self._is_over:
            return
        slot.lives += 1
        slot.process = Process(f"{slot.service.name}-{slot.number}.{slot.lives}")
        slot.stopped = asyncio.Event()
        address = Address(
            bootstrap="simulated:1",
            client_id=slot.process.name,
            linger_ms=self.linger_ms,
            relay_linger_ms=self.linger_ms,
            simulated=self.broker,
        )
        service = replace(slot.service, spec=replace(slot.service.spec, handle=_fresh(slot.service.spec.handle)))
        if self.poison is not None and self.poison.service == service.name:
            service = replace(service, spec=replace(service.spec, handle=poisoned(service.spec.handle, self.poison)))
        exit_ = partial(self._exited, slot, slot.process)
        node = Node(service, address, self.batch_size, self.broker.now, exit_, slot.stopped)
        task = self.loop.create_task(node.run(), name="worker", context=slot.process.context)
        task.add_done_callback(lambda done: self._ended(slot, slot.process, done))
        self.trace.note(self.loop.time(), slot.process.name, "starts")

    def _ended(self, slot: Slot, process: Process, done: asyncio.Task[int]) -> None:
        if self._is_over or process.state == "dead":
            return
        error = None if done.cancelled() else done.exception()
        if error is not None:
            self.trace.note(self.loop.time(), process.name, f"ends: {error!r}")
            if not isinstance(error, StartFailedError):
                self.violations.append(f"{process.name} failed: {error!r}")
            self._end(slot)
        else:
            self._exited(slot, process, done.result())

    def _exited(self, slot: Slot, process: Process, code: int) -> None:
        """Handle the end of a process; any exit code but 0 is a violation."""
        if self._is_over or process.state == "dead":
            return
        self.trace.note(self.loop.time(), process.name, f"exits with {code}")
        if code:
            self.violations.append(f"{process.name} exited with {code}: see `worker_failed` in the trace")
        self._end(slot)

    def crash(self, process: Process) -> None:
        """Kill a process."""
        for slot in self.slots:
            if slot.process is process and process.state != "dead":
                self.trace.note(self.loop.time(), process.name, "is killed")
                self._end(slot)

    def _end(self, slot: Slot) -> None:
        process = slot.process
        process.state = "dead"
        self._dead.append(process)
        for link in process.links:
            link.lose(None)
        if not self._is_closing:
            self.loop.call_later(self.chance.uniform(0.2, 2.0), self.start, slot)

    def _failed(self, _loop: object, context: dict[str, Any]) -> None:
        self.trace.note(self.loop.time(), running(), str(context.get("message")).partition(" <")[0])
        self.violations.append(f"{running()}: {context.get('message')}: {context.get('exception')!r}")

    # Strikes.

    def _strike(self) -> None:
        if self.trace.steps == self._struck_at:
            return
        self._struck_at = self.trace.steps
        kind = self.faults.of_step(self.trace.steps)
        if kind is None:
            return
        self.strikes[kind] += 1
        self.trace.note(self.loop.time(), "world", f"strikes: {kind}")
        running = [slot for slot in self.slots if slot.process.state == "runs"]
        match kind:
            case "broker":
                self.broker.up = False
                self.loop.call_later(self.chance.uniform(0.1, 5.0), setattr, self.broker, "up", True)
            case "database":
                self._break_sessions([link for slot in self.slots for link in slot.process.links])
                self.server.up = False
                self.loop.call_later(self.chance.uniform(0.1, 3.0), setattr, self.server, "up", True)
            case "rebalance":
                for _, group in sorted(self.broker.groups.items()):
                    group.upset("by chance")
            case _ if running:
                busy = [slot for slot in running if slot.process.is_busy]
                self._strike_one(kind, self.chance.choice(busy or running))
            case _:
                pass

    def _strike_one(self, kind: str, slot: Slot) -> None:
        process = slot.process
        match kind:
            case "crash":
                self.crash(process)
            case "pause" | "stall":
                process.state = "stopped"
                seconds = self.chance.uniform(0.5, 8.0) if kind == "pause" else self.chance.choice((0.001, 0.01, 0.1))
                self.loop.call_later(seconds, self._go_on, process)
            case "session":
                if links := [link for link in process.links if not link.is_closing()]:
                    self._break_sessions([self.chance.choice(links)])
            case "restart":
                slot.stopped.set()
            case _:
                raise AssertionError(kind)

    def _go_on(self, process: Process) -> None:
        if process.state == "stopped":
            self.trace.note(self.loop.time(), process.name, "goes on")
            self.loop.thaw(process)

    def _break_sessions(self, links: Sequence[Any]) -> None:
        for link in links:
            link.lose(ConnectionResetError("simulated: the server closed the connection"))

    def _bury(self) -> None:
        """End the tasks of all processes, without any further effect."""
        for slot in self.slots:
            if slot.process.state != "dead":
                self._dead.append(slot.process)
        self._is_over = True
        self.server.up = False
        self.loop.before = lambda: None
        self.loop.set_exception_handler(lambda *_: None)
        for process in self._dead:
            for link in process.links:
                link.lose(None)
            self.loop.thaw(process)
        while tasks := [task for process in self._dead for task in process.tasks if not task.done()]:
            for task in tasks:
                task.cancel()
            self.loop.run_until_complete(asyncio.wait(tasks, timeout=10))
        self.loop.run_until_complete(asyncio.sleep(1))
        self.server.close()


def _fresh(handle: Handle) -> Handle:
    """A handler as a new process has it: what one keeps in memory is empty."""
    if isinstance(handle, partial):
        return partial(handle.func, **{name: type(kept)() for name, kept in handle.keywords.items()})
    return handle
