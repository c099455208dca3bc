"""A simulated event loop: it runs one task at a time, in an order drawn from a seed, on a virtual clock.

The clock stands still while any task can run, and jumps to the next timer when none can. The database
answers a task's statements before another task runs (see `sessions`).
"""

import asyncio
import heapq
from asyncio import events
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.simulation.trace import Trace


@dataclass(eq=False)
class Process:
    """A process: running, stopped (SIGSTOP) or dead (SIGKILL).

    Tasks that its tasks start belong to it.
    """

    name: str
    state: str = "runs"
    held: list[events.Handle] = field(default_factory=list)
    tasks: list[asyncio.Task[Any]] = field(default_factory=list)
    links: list[Any] = field(default_factory=list)
    context: Context = field(default_factory=Context)

    def __post_init__(self) -> None:
        self.context.run(PROCESS.set, self)

    @property
    def is_busy(self) -> bool:
        """Whether it has an open transaction."""
        return any(link.session is not None and link.session.is_in_transaction for link in self.links)


PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)


def running() -> str:
    """The name of the running process; "world" outside of all processes."""
    process = PROCESS.get()
    return process.name if process is not None else "world"


class DeadlockError(Exception):
    """No task can continue, and there is no timer."""


class Loop(asyncio.SelectorEventLoop):
    """See the module. `before` and `after` are called around each step."""

    def __init__(self, chance: Random, trace: Trace) -> None:
        super().__init__()
        self.trace = trace
        self.before: Callable[[], None] = lambda: None
        self.after: Callable[[], None] = lambda: None
        self.connect: Callable[[Callable[[], Any]], tuple[Any, Any]] | None = None
        self._chance = chance
        self._elapsed = 0.0
        self._count = 0
        self._plain: list[events.Handle] = []
        self._steps: list[events.Handle] = []

    def time(self) -> float:
        """Seconds of the virtual clock."""
        return self._elapsed

    def create_task(
        self, coro: Coroutine[Any, Any, Any], *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[Any]:
        """As in asyncio, with names that are the same in every run."""
        self._count += 1
        task: asyncio.Task[Any] = asyncio.Task(
            coro, loop=self, name=f"{name or coro.__qualname__}#{self._count}", context=context
        )
        process = (context or {}).get(PROCESS) if context is not None else PROCESS.get()
        if process is not None:
            process.tasks.append(task)
        return task

    async def create_connection(self, protocol_factory: Callable[[], Any], *_: Any, **__: Any) -> Any:
        """A connection to the database, which is the only real server."""
        assert self.connect is not None
        return self.connect(protocol_factory)

    def run_in_executor(self, *_: Any) -> Any:
        """Threads are forbidden, since they are not deterministic."""
        raise AssertionError("a thread is not to be simulated")

    def thaw(self, process: Process) -> None:
        """Resume a stopped process, with the callbacks that arrived meanwhile."""
        process.state = "runs"
        self._ready.extend(process.held)
        process.held.clear()

    def _run_once(self) -> None:
        self.before()
        self._take_due()
        handle = self._next()
        if handle is None:
            self._jump()
            return
        handle._run()
        self.after()

    def _take_due(self) -> None:
        while self._scheduled and (self._scheduled[0]._cancelled or self._scheduled[0]._when <= self._elapsed):
            handle = heapq.heappop(self._scheduled)
            handle._scheduled = False
            if not handle._cancelled:
                self._ready.append(handle)

    def _next(self) -> events.Handle | None:
        """The next plain callback, or a random runnable task, since asyncio promises no order of tasks."""
        while True:
            self._sort()
            if self._plain:
                handle = self._plain.pop(0)
            elif self._steps:
                index = self._chance.randrange(len(self._steps))
                self._steps[index], self._steps[-1] = self._steps[-1], self._steps[index]
                handle = self._steps.pop()
                self.trace.step(handle._callback.__self__.get_name())
            else:
                return None
            if not handle._cancelled and not self._hold(handle):
                return handle

    def _sort(self) -> None:
        while self._ready:
            handle = self._ready.popleft()
            if handle._cancelled or self._hold(handle):
                continue
            is_step = isinstance(getattr(handle._callback, "__self__", None), asyncio.Task)
            (self._steps if is_step else self._plain).append(handle)

    def _hold(self, handle: events.Handle) -> bool:
        """Hold back callbacks of a stopped process."""
        process = handle._context.get(PROCESS)
        if process is None or process.state == "runs":
            return False
        process.held.append(handle)
        return True

    def _jump(self) -> None:
        while self._scheduled and self._scheduled[0]._cancelled:
            heapq.heappop(self._scheduled)._scheduled = False
        if not self._scheduled:
            raise DeadlockError
        self._elapsed = max(self._elapsed, self._scheduled[0]._when)
