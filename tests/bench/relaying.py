"""The relay's rates: following a worker that fills the outbox, and draining a full outbox."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from aiokafka import TopicPartition

from deploy import topics
from shared.contracts import topics as contract
from shared.postgres.pool import Pool
from tests.bench import draining, effects
from tests.bench.cpu import Meter
from tests.bench.draining import Drain
from tests.bench.figures import Figure, Measured, rate
from tests.bench.pace import settle, watch
from tests.bench.plan import Plan
from tests.bench.processes import worker
from tests.bench.rounds import Results, Side, WrongEffectError
from tests.bench.testbed import Testbed

ROWS: Final = 100_000

_POINTS: Final = [TopicPartition(contract.POINTS, number) for number in range(topics.PARTITIONS)]

Row = tuple[str, bytes, bytes]

POSITION_SQL = """
INSERT INTO position (cluster_id, consumer_group, topic, partition, next_offset) VALUES ($1, 'wafa-points', $2, $3, $4)
"""

ROWS_SQL = "SELECT topic, key, value FROM outbox ORDER BY id"

WAITING_SQL = "SELECT count(*) FROM outbox"


async def outbox(plan: Plan) -> list[Row]:
    """Rows as a worker makes them of purchases, repeated until there are enough."""
    count = plan.events(ROWS)
    async with plan.bed.database() as (url, pool):
        await draining.drain_into(plan.bed, (url, pool), Drain(draining.count(plan)))
        made = [tuple(row) for row in await pool.fetch(ROWS_SQL)]
    return (made * (count // len(made) + 1))[:count]


def sides(plan: Plan, rows: list[Row]) -> list[Side]:
    """Both."""
    return [
        Side("purchases", partial(_follow, plan)),
        Side("purchases", partial(_empty, plan, rows)),
    ]


def figures(found: Results) -> list[Figure]:
    """The rows of the table."""
    return [
        rate("relay: following a worker, in its process", found["relay following"], "rows/s", "as fast as they come"),
        rate("relay: the events/s of that worker", found["relaying worker"], "events/s"),
        rate("relay: draining a full outbox", found["relay draining"], "rows/s"),
    ]


async def _follow(plan: Plan) -> Mapping[str, Measured]:
    """A worker that relays as it drains; done when all is handled, and published too."""
    total = draining.count(plan)
    async with plan.bed.database() as (url, pool), _published(plan.bed) as published:
        async with worker(plan.bed, url) as process:
            meter = Meter(plan.bed, pool, {"worker": [process.pid]})
            drained = await watch(total, lambda: draining.handled(plan.bed, pool), meter)
            await settle(partial(_is_empty, pool))
            # Rows and events end together, but for the last chunk: their rates differ by their numbers.
            rows = await published()
        await effects.check(pool, total, relayed=True)
        moved = await pool.fetchval("SELECT count(*) FROM transaction WHERE points <> 0")
    if rows != moved:
        raise WrongEffectError(f"of {moved} rows {rows} were published")
    return {"relaying worker": drained, "relay following": Measured(drained.rate * rows / total)}


async def _empty(plan: Plan, rows: list[Row]) -> Mapping[str, Measured]:
    """A worker that has nothing to read, and an outbox that is full."""
    bed = plan.bed
    async with bed.database() as (url, pool), _published(bed) as published:
        cluster = await bed.cluster_id()
        ends = (await bed.ends()).items()
        await pool.executemany(POSITION_SQL, [(cluster, tp.topic, tp.partition, end) for tp, end in ends])
        await pool.copy_records_to_table("outbox", records=rows, columns=("topic", "key", "value"))
        async with worker(bed, url) as process:
            measured = await watch(len(rows), published, Meter(bed, pool, {"worker": [process.pid]}))
            await settle(partial(_is_empty, pool))
        if (count := await published()) != len(rows):
            raise WrongEffectError(f"of {len(rows)} rows {count} were published")
    return {"relay draining": measured}


async def _is_empty(pool: Pool) -> bool:
    return await pool.fetchval(WAITING_SQL) == 0


@asynccontextmanager
async def _published(bed: Testbed) -> AsyncIterator[Callable[[], Awaitable[int]]]:
    """How many records came to the topic of points since this began."""
    async with bed.reader() as reader:
        before = sum((await reader.end_offsets(_POINTS)).values())

        async def count() -> int:
            return sum((await reader.end_offsets(_POINTS)).values()) - before

        yield count
