"""The parameters of a run of the benchmark."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from deploy.sample.grocer import Sample
from tests.bench.testbed import Testbed

_LEAST: Final = 100


@dataclass(frozen=True, slots=True)
class Plan:
    """`rounds` per ratio, `size` as a fraction of the full numbers of events; `say` prints progress."""

    bed: Testbed
    year: Sample
    rounds: int
    size: float
    say: Callable[[str], None]

    def events(self, full: int, least: int = _LEAST) -> int:
        """Number of events, where a full run has `full`."""
        return max(least, round(full * self.size))

    def seconds(self, full: float) -> float:
        """Duration in seconds, where a full run takes `full`."""
        return max(1.0, full * min(1.0, self.size * 4))
