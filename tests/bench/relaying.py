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
    """Outbox rows that a worker writes for purchases, repeated until there are enough."""
    count = plan.events(ROWS)
    async with plan.bed.database() as (url, pool):
        await draining.drain_into(plan.bed, (url, pool), Drain(draining.count(plan)))
        rows = [tuple(row) for row in await pool.fetch(ROWS_SQL)]
    return (rows * (count // len(rows) + 1))[:count]


def sides(plan: Plan, rows: list[Row]) -> list[Side]:
    """Both sides."""
    return [
        Side("purchases", partial(_follow, plan)),
        Side("purchases", partial(_empty, plan, rows)),
    ]


def figures(results: Results) -> list[Figure]:
    """The rows of the table."""
    return [
        rate("relay: following a worker, in its process", results["relay following"], "rows/s", "as fast as they come"),
        rate("relay: the events/s of that worker", results["relaying worker"], "events/s"),
        rate("relay: draining a full outbox", results["relay draining"], "rows/s"),
    ]


async def _follow(plan: Plan) -> Mapping[str, Measured]:
    """A worker that relays while it drains, until all events are handled and all rows published."""
    total = draining.count(plan)
    async with plan.bed.database() as (url, pool), _published(plan.bed) as published:
        async with worker(plan.bed, url) as process:
            meter = Meter(plan.bed, pool, {"worker": [process.pid]})
            drained = await watch(total, lambda: draining.handled(plan.bed, pool), meter)
            await settle(partial(_is_empty, pool))
            # Rows and events end together, except the last chunk: their rates differ by their numbers.
            rows = await published()
        await effects.check(pool, total, relayed=True)
        moved = await pool.fetchval("SELECT count(*) FROM transaction WHERE points <> 0")
    if rows != moved:
        raise WrongEffectError(f"of {moved} rows {rows} were published")
    return {"relaying worker": drained, "relay following": Measured(drained.rate * rows / total)}


async def _empty(plan: Plan, rows: list[Row]) -> Mapping[str, Measured]:
    """A worker with a full outbox and no records to read."""
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
    """A function that counts the records on the topic of points since the start of the context."""
    async with bed.reader() as reader:
        before = sum((await reader.end_offsets(_POINTS)).values())

        async def count() -> int:
            return sum((await reader.end_offsets(_POINTS)).values()) - before

        yield count
