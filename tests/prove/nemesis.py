"""Injects faults under load: several kinds concurrently, those of the servers alone."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Final

from tests.prove import faults, jobs, outsiders
from tests.prove.faults import Strike
from tests.prove.jobs import Marketing
from tests.prove.patience import until
from tests.prove.plan import Fault, Plan
from tests.prove.progress import Progress
from tests.prove.scene import Gate, Scene
from tests.prove.stage import Stage
from tests.prove.writes import Writer

_TRIES: Final = 6
"""Maximum tries until a fault takes effect."""

_LONGEST: Final = 3600.0
"""Maximum seconds between two faults of the servers."""


ALONE: Final = {
    **faults.ALONE,
    Fault.HOT_CUSTOMER: outsiders.hot_customer,
    Fault.HOSTILE_CALLERS: outsiders.hostile_callers,
}
"""Faults that are injected only when everything has recovered."""


JOBS: Final = {
    Fault.KILL_SWEEP: jobs.kill_sweep,
    Fault.KILL_PUBLICATION: jobs.kill_publication,
    Fault.KILL_SIMULATION: jobs.kill_simulation,
}
"""Faults of the jobs of tiers, one after another."""


@dataclass(frozen=True, slots=True)
class Struck:
    """A tried fault: its time in seconds since the start, its effect and its recovery."""

    fault: Fault
    at: float
    strike: Strike

    @property
    def counts(self) -> bool:
        """Whether it took effect."""
        return self.strike.seen is not None


@dataclass(slots=True)
class Nemesis:
    """Injects each fault as often as planned."""

    stage: Stage
    progress: Progress
    writer: Writer
    random: Random
    plan: Plan
    say: Callable[[str], None]
    struck: list[Struck] = field(default_factory=list)
    poisoned: set[tuple[str, int, int]] = field(default_factory=set[tuple[str, int, int]])
    """Topic, partition and offset of unreadable records."""
    _gate: Gate = field(default_factory=Gate)
    _given_up: int = 0
    _began: float = 0.0

    @property
    def share_done(self) -> float:
        """Progress of the plan, from 0 to 1."""
        done = self._given_up + sum(1 for fault in self.struck if fault.counts)
        whole = sum(self.plan.faults.values())
        return done / whole if whole else 1.0

    async def run(self) -> None:
        """Inject all planned faults."""
        self._began = asyncio.get_running_loop().time()
        await asyncio.sleep(3.0)  # until there are records to handle
        on_points, on_others = self._of_workers()
        sessions = [
            item
            for fault in (*faults.SESSIONS, Fault.RESET_AT_COMMIT, Fault.POISON)
            for item in [fault] * self.plan.faults.get(fault, 0)
        ]
        apis = [Fault.KILL_API] * self.plan.faults.get(Fault.KILL_API, 0)
        async with asyncio.TaskGroup() as lanes:
            lanes.create_task(self._lane(self._shuffled(on_points), lambda fault: self._worker(fault, "points"), 0.5))
            others = self._shuffled(on_others)
            lanes.create_task(
                self._lane(others, lambda fault: self._worker(fault, self.random.choice(self._others)), 0.5)
            )
            lanes.create_task(self._lane(self._shuffled(sessions), self._session, 6.0))
            lanes.create_task(self._lane(apis, lambda _: faults.kill_api(self._scene), 25.0))
            lanes.create_task(self._jobs())
            lanes.create_task(self._servers())

    @property
    def _scene(self) -> Scene:
        return Scene(self.stage, self.progress, self.writer, self.random, self.poisoned)

    def _of_workers(self) -> tuple[list[Fault], list[Fault]]:
        """Inject the faults of workers, of points (which has two) and of the other services."""
        of_workers = (Fault.KILL_WORKER, Fault.STOP_WORKER, Fault.REBALANCE)
        every = [item for fault in of_workers for item in [fault] * self.plan.faults.get(fault, 0)]
        return (every[::2], every[1::2]) if self._others else (every, [])

    @property
    def _others(self) -> list[str]:
        return [service for service in self.stage.cast.services if service != "points"]

    def _shuffled(self, some: Iterable[Fault]) -> list[Fault]:
        mixed = list(some)
        self.random.shuffle(mixed)
        return mixed

    async def _lane(self, some: Iterable[Fault], strike: Callable[[Fault], Awaitable[Strike]], pause: float) -> None:
        for fault in some:
            await asyncio.sleep(pause * self.plan.pause * self.random.uniform(0.5, 1.5))
            await self._until_seen(fault, lambda fault=fault: strike(fault))

    async def _jobs(self) -> None:
        """Publish versions of the tier program, and kill the jobs that they and time cause."""
        planned = [item for fault in JOBS for item in [fault] * self.plan.faults.get(fault, 0)]
        versions = sum(fault is not Fault.KILL_SWEEP for fault in planned)
        marketing = Marketing(self.writer, versions)
        await self._lane(self._shuffled(planned), lambda fault: JOBS[fault](self._scene, marketing), 10.0)

    async def _until_seen(self, fault: Fault, strike: Callable[[], Awaitable[Strike]]) -> None:
        for _ in range(_TRIES):
            async with self._gate.shared():
                if self._note(fault, await strike()):
                    return
            await asyncio.sleep(self.plan.pause)
        self._given_up += 1

    def _note(self, fault: Fault, strike: Strike) -> bool:
        at = round(asyncio.get_running_loop().time() - self._began, 1)
        self.struck.append(Struck(fault, at, strike))
        effect = "without effect" if strike.seen is None else strike.seen
        recovery = "" if strike.recovery is None else f", recovered after {strike.recovery:.1f} s"
        self.say(f"{fault}: {strike.victim}, {effect}{recovery}")
        return strike.seen is not None

    async def _worker(self, fault: Fault, service: str) -> Strike:
        if fault is Fault.REBALANCE:
            return await faults.rebalance(self._scene, service, f"{service}-guest-{len(self.struck)}")
        running = [item for item in self.stage.fleet.of(service) if item.is_kept]
        if not running:
            return Strike(service, None)
        return await faults.WORKERS[fault](self._scene, self.random.choice(running))

    async def _session(self, fault: Fault) -> Strike:
        if fault is Fault.POISON:
            return await outsiders.poison(self._scene)
        if fault is not Fault.RESET_AT_COMMIT:
            return await faults.SESSIONS[fault](self._scene)
        turn = sum(1 for item in self.struck if item.fault is fault)
        return await faults.reset_at_commit(self._scene, self.plan.commits_of[turn % len(self.plan.commits_of)])

    async def _servers(self) -> None:
        """Inject the faults of the servers one after another, spread over the run."""
        some = self._shuffled(item for fault in ALONE for item in [fault] * self.plan.faults.get(fault, 0))
        others = sum(self.plan.faults.values()) - len(some)
        for number, fault in enumerate(some, start=1):
            await until(lambda number=number: self._are_past(others * number / (len(some) + 1)), _LONGEST)
            for _ in range(_TRIES):
                async with self._gate.alone():
                    if self._note(fault, await ALONE[fault](self._scene)):
                        break
            else:
                self._given_up += 1

    async def _are_past(self, count: float) -> bool:
        """Whether a number of other faults is done."""
        done = sum(1 for fault in self.struck if fault.counts and fault.fault not in ALONE)
        return self._given_up + done >= count
