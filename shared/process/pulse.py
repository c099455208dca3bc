"""A thread that serves a worker's probes, and watches its event loop.

A loop that computes does not answer probes, so they have a thread and a loop of their own. Every half second the
thread asks the worker's loop for a sign of life. If none comes, a signal interrupts a handler that computes for too
long (`shared.messaging.deadline`); if that does not help, `/livez` fails.
"""

import asyncio
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType
from typing import Final

import uvloop

from shared.http.probes import Readiness
from shared.http.server import serve_probes
from shared.messaging import deadline

ALIVE_SECONDS: Final = 60.0
"""Seconds that the worker's loop may be blocked before `/livez` fails."""

_ASKED_EVERY: Final = 0.5
_STUCK_SECONDS: Final = 1.0
_STOP_SECONDS: Final = 5.0


class Pulse:
    """Watches the event loop that runs where it is created."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._answered = self._asked = time.monotonic()

    @property
    def stuck(self) -> float:
        """Seconds that the loop has been blocked."""
        return max(0.0, time.monotonic() - self._asked) if self._asked > self._answered else 0.0

    def is_alive(self) -> bool:
        """Whether the loop was responsive recently."""
        return self.stuck < ALIVE_SECONDS

    def watch(self, stopped: threading.Event) -> None:
        """Ask the loop periodically, from another thread, and interrupt it while it is blocked."""
        while not stopped.is_set():
            if self._answered >= self._asked:
                self._asked = time.monotonic()
                self._loop.call_soon_threadsafe(self._answer)
            woken = time.monotonic()
            stopped.wait(_ASKED_EVERY)
            if self._asked > self._answered:
                # Time in which the process or the machine was stopped does not count as computing.
                self._asked += max(0.0, time.monotonic() - woken - 2 * _ASKED_EVERY)
            if self.stuck >= _STUCK_SECONDS:
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)

    def _answer(self) -> None:
        self._answered = max(time.monotonic(), self._asked)

    def interrupt(self, _signal: int, _frame: FrameType | None) -> None:
        """Signal handler, in the main thread.

        Raises:
            FoldTooLongError: see `deadline.interrupt`.
        """
        deadline.interrupt(self.stuck)


@contextmanager
def interrupting(pulse: Pulse) -> Generator[None]:
    """Watch the loop from a thread, and interrupt handlers that compute for too long."""
    stopped = threading.Event()
    watching = threading.Thread(target=pulse.watch, args=(stopped,), name="pulse", daemon=True)
    before = signal.signal(signal.SIGALRM, pulse.interrupt)
    watching.start()
    try:
        yield
    finally:
        stopped.set()
        watching.join(_STOP_SECONDS)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def beating(is_ready: Readiness, address: tuple[str, int], failed: Callable[[BaseException], None]) -> Generator[None]:
    """Watch the running loop, and serve its probes from a thread; `failed` is called in the loop if they fail."""
    loop = asyncio.get_running_loop()
    pulse = Pulse()

    async def ready() -> bool:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_ask(is_ready), loop))

    probes = _Probes(
        partial(serve_probes, ready, *address, is_alive=pulse.is_alive), partial(loop.call_soon_threadsafe, failed)
    )
    with interrupting(pulse):
        probes.start()
        try:
            yield
        finally:
            probes.stop()


async def _ask(is_ready: Readiness) -> bool:
    return await is_ready()


class _Probes:
    """A thread with an event loop that serves until it is stopped."""

    def __init__(self, serve: Callable[[], Awaitable[None]], failed: Callable[[BaseException], object]) -> None:
        self._serve, self._failed = serve, failed
        self._loop = uvloop.new_event_loop()
        self._task: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._run, name="probes", daemon=True)
        self.start = self._thread.start

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            try:
                runner.run(self._serve_until_stopped())
            except BaseException as error:  # noqa: BLE001 any failure of the probes ends the worker
                self._failed(error)

    async def _serve_until_stopped(self) -> None:
        self._task = asyncio.current_task()
        with suppress(asyncio.CancelledError):
            await self._serve()

    def stop(self) -> None:
        """End the thread, within a bounded time, since a probe may be in progress."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._cancel)
            self._thread.join(_STOP_SECONDS)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
