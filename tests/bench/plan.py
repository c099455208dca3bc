"""What a run of the benchmark is given: where, of what, how often, and how much of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from deploy.sample.grocer import Sample
from tests.bench.testbed import Testbed

_LEAST: Final = 100


@dataclass(frozen=True, slots=True)
class Plan:
    """`rounds` of each ratio, `size` a fraction of the full numbers of events, `say` tells how far it is."""

    bed: Testbed
    year: Sample
    rounds: int
    size: float
    say: Callable[[str], None]

    def events(self, full: int, least: int = _LEAST) -> int:
        """How many events, where a full run has `full`."""
        return max(least, round(full * self.size))

    def seconds(self, full: float) -> float:
        """How long, where a full run takes `full` seconds."""
        return max(1.0, full * min(1.0, self.size * 4))
