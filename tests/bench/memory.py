"""Does a worker's memory grow with what it has handled?"""

from collections.abc import Callable
from typing import Final

import psutil

from deploy.sample.grocer import Sample
from tests.bench import draining, stream
from tests.bench.figures import Figure
from tests.bench.pace import watch
from tests.bench.processes import points_worker
from tests.bench.testbed import Testbed

FIRST: Final = 10_000
LAST: Final = 150_000

_MEGABYTE: Final = 1024 * 1024


async def measure(bed: Testbed, year: Sample, say: Callable[[str], None]) -> list[Figure]:
    """The resident memory of a worker (which relays too) after 10,000 and after 150,000 events."""
    say(f"publishing {LAST:,} purchases")
    await bed.fill(stream.purchases(year, LAST))
    async with bed.database() as (url, pool), points_worker(bed, url) as process:
        worker = psutil.Process(process.pid)
        sizes: list[float] = []
        for events in (FIRST, LAST):
            await watch(events, lambda: draining.handled(bed, pool))
            sizes.append(worker.memory_info().rss / _MEGABYTE)
            say(f"{events:,} events: {sizes[-1]:.1f} MB")
    return [
        Figure(f"memory: growth from {FIRST:,} to {LAST:,} events", [abs(sizes[1] - sizes[0])], "MB", at_most=20),
        Figure(f"memory after {LAST:,} events", [sizes[1]], "MB"),
    ]
