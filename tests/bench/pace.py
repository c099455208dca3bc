"""How fast something goes on: watched from the outside, by what it has committed."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

_LOOK_SECONDS: Final = 0.05
_WARM_UP: Final = 0.1
"""The part of the events that is not counted: plans are made, caches filled, joins settled."""


class StalledError(Exception):
    """Nothing went on for too long."""


@dataclass(slots=True)
class Pace:
    """The rate from the end of the warm-up to the last event of `total`."""

    total: int
    _begun: tuple[float, int] | None = None
    _last: tuple[float, int] = (0.0, 0)

    def note(self, handled: int) -> bool:
        """So many are handled now; True when all are."""
        if handled != self._last[1]:
            self._last = (time.perf_counter(), handled)
            if self._begun is None and handled >= self.total * _WARM_UP:
                self._begun = self._last
        return handled >= self.total

    @property
    def rate(self) -> float:
        """Events per second."""
        assert self._begun is not None, "the warm-up is over"
        (begun, before), (ended, after) = self._begun, self._last
        return (after - before) / (ended - begun)


async def watch(total: int, handled: Callable[[], Awaitable[int]], patience: float = 30.0) -> Pace:
    """Look at what is handled until it is `total`; returns how fast it went.

    Raises:
        StalledError: nothing was handled for `patience` seconds.
    """
    pace = Pace(total)
    moved, before = time.monotonic(), 0
    while not pace.note(count := await handled()):
        if count != before:
            moved, before = time.monotonic(), count
        elif time.monotonic() - moved > patience:
            raise StalledError(f"{count} of {total} events were handled, and then none for {patience:g} s")
        await asyncio.sleep(_LOOK_SECONDS)
    return pace
