"""The growth of a worker's memory with the number of handled events."""

from functools import partial
from typing import Final

import psutil

from shared.postgres.pool import Pool
from tests.bench import draining, stream
from tests.bench.figures import Figure
from tests.bench.pace import settle
from tests.bench.plan import Plan
from tests.bench.processes import worker

FIRST: Final = 10_000
LAST: Final = 150_000

_MEGABYTE: Final = 1024 * 1024


async def measure(plan: Plan) -> list[Figure]:
    """The resident memory of a worker (which relays too) after 10,000 and after 150,000 events."""
    first, last = plan.events(FIRST), plan.events(LAST)
    plan.say(f"publishing {last:,} purchases")
    await plan.bed.fill(stream.purchases(plan.year, last))
    async with plan.bed.database() as (url, pool), worker(plan.bed, url) as process:
        seen = psutil.Process(process.pid)
        sizes: list[float] = []
        for events in (first, last):
            await settle(partial(_has, plan, pool, events), patience=300)
            sizes.append(seen.memory_info().rss / _MEGABYTE)
            plan.say(f"{events:,} events: {sizes[-1]:.1f} MB")
    return [
        Figure(f"memory: growth from {first:,} to {last:,} events", [abs(sizes[1] - sizes[0])], "MB", at_most=20),
        Figure(f"memory: of a worker after {last:,} events", [sizes[1]], "MB"),
    ]


async def _has(plan: Plan, pool: Pool, events: int) -> bool:
    return await draining.handled(plan.bed, pool) >= events
