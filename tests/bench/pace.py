"""Measures progress from outside, by committed rows."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from tests.bench import cpu
from tests.bench.cpu import Meter, Reading
from tests.bench.figures import Measured

_LOOK_SECONDS: Final = 0.025
_WARM_UP: Final = 0.1
"""Share of the events that is a warm-up: plans, caches and group joins."""

Handled = Callable[[], Awaitable[int]]
"""Returns the number of handled events."""


class StalledError(Exception):
    """There was no progress for too long."""


@dataclass(slots=True)
class Pace:
    """Measures rate and CPU from the end of the warm-up to the last event of `total`."""

    total: int
    meter: Meter | None = None
    _begun: tuple[float, int] | None = None
    _last: tuple[float, int] = (0.0, 0)
    _readings: list[Reading] = field(default_factory=list[Reading])

    async def note(self, handled: int) -> bool:
        """Note the number of handled events; returns whether all are."""
        if handled != self._last[1]:
            self._last = (time.perf_counter(), handled)
            if self._begun is None and handled >= self.total * _WARM_UP:
                self._begun = self._last
                await self._read()
        if handled >= self.total:
            await self._read()
        return handled >= self.total

    async def _read(self) -> None:
        if self.meter is not None:
            self._readings.append(await self.meter.read())

    @property
    def measured(self) -> Measured:
        """Events per second, and their CPU."""
        assert self._begun is not None, "the warm-up is over"
        (begun, before), (ended, after) = self._begun, self._last
        if ended == begun:
            raise StalledError(f"all {self.total} events were handled at one moment: too few to measure")
        rate = (after - before) / (ended - begun)
        if self.meter is None:
            return Measured(rate)
        return Measured(rate, cpu.between(self._readings[0], self._readings[-1], after - before))


async def watch(
    total: int, handled: Handled, meter: Meter | None = None, *, patience: float = 30.0, every: float = _LOOK_SECONDS
) -> Measured:
    """Poll the number of handled events until it is `total`; returns the rate.

    Raises:
        StalledError: nothing was handled for `patience` seconds.
    """
    pace = Pace(total, meter)
    moved, before = time.monotonic(), 0
    while not await pace.note(count := await handled()):
        if count != before:
            moved, before = time.monotonic(), count
        elif time.monotonic() - moved > patience:
            raise StalledError(f"{count} of {total} events were handled, and then none for {patience:g} s")
        await asyncio.sleep(every)
    return pace.measured


async def settle(true: Callable[[], Awaitable[bool]], patience: float = 30.0) -> None:
    """Wait until a condition is true.

    Raises:
        StalledError: it is still false after `patience` seconds.
    """
    deadline = time.monotonic() + patience
    while not await true():
        if time.monotonic() > deadline:
            raise StalledError(f"not within {patience:g} s: {true}")
        await asyncio.sleep(_LOOK_SECONDS)
