"""The rate of a worker on databases of different sizes."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

from shared.postgres.pool import Pool
from tests.bench import draining, preload, stream
from tests.bench.draining import Drain
from tests.bench.figures import Figure, Measured, rate, ratio
from tests.bench.plan import Plan
from tests.bench.rounds import Results, WrongEffectError

EVENTS: Final = 12_000
SIZES: Final = (100_000, 1_000_000, 5_000_000)

# Not the outbox, which the relay empties.
STORED_SQL = """
SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname <> 'outbox'
"""

WAL_SQL = """
SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint AS bytes, wal_fpi AS images FROM pg_stat_wal
"""

COUNTS_SQL = """
SELECT (SELECT coalesce(sum(sequence), 0) FROM account)::bigint AS transactions,
       (SELECT coalesce(sum(orders), 0) FROM account)::bigint AS orders,
       (SELECT count(*) FROM outbox) AS outbox, (SELECT count(*) FROM dead_letter) AS dead
"""


@dataclass(frozen=True, slots=True)
class _Database:
    """A database, with its number of transactions before the first round."""

    transactions: int
    url: str
    pool: Pool


async def measure(plan: Plan) -> list[Figure]:
    """In each round, the next purchases go into every database, and into one with only customers."""
    async with AsyncExitStack() as stack:
        loaded, empty = await _databases(plan, stack)
        results: dict[str, list[Measured]] = {}
        for number in range(plan.rounds):
            for name, measured in (await _round(plan, [empty[number], *loaded], number)).items():
                results.setdefault(name, []).append(measured)
    return _figures(results, [item.transactions for item in loaded])


async def _databases(plan: Plan, stack: AsyncExitStack) -> tuple[list[_Database], list[_Database]]:
    """The filled databases, and an empty one for each round.

    All are created before the first round, since creating a database causes a checkpoint.
    """
    sizes = [*(plan.events(full) for full in SIZES), *[0] * plan.rounds]
    databases: list[_Database] = []
    await preload.hurry(plan.bed)
    for size in sizes:
        if size:
            plan.say(f"making {size:,} transactions")
        url, pool = await stack.enter_async_context(plan.bed.database())
        await preload.fill(pool, size)
        databases.append(_Database(size, url, pool))
    await preload.hurry_no_more(plan.bed)
    return databases[: len(SIZES)], databases[len(SIZES) :]


async def _round(plan: Plan, databases: list[_Database], number: int) -> Mapping[str, Measured]:
    count = plan.events(EVENTS, 3_000)
    await plan.bed.fill(stream.scattered(plan.year, count, number * count, preload.customer))
    results: dict[str, Measured] = {}
    for database in databases if number % 2 == 0 else reversed(databases):
        results |= await _into(plan, count, database)
        pace = results[_name(database)].rate
        plan.say(f"round {number + 1} of {plan.rounds}: {database.transactions:,} there: {pace:,.0f}")
    return results


def _name(database: _Database) -> str:
    return f"{database.transactions}"


async def _into(plan: Plan, count: int, into: _Database) -> Mapping[str, Measured]:
    """Drain the topic into a database, and measure what it added."""
    pool = into.pool
    stored, wal, before = await _sizes(pool)
    measured = await draining.drain_into(plan.bed, (into.url, pool), Drain(count))
    stored_after, wal_after, after = await _sizes(pool)
    added = {name: after[name] - before[name] for name in before}
    if added["transactions"] != count or added["orders"] != count or not added["outbox"] or added["dead"]:
        raise WrongEffectError(f"of {count} events came {added}")
    await pool.execute("TRUNCATE outbox")
    return {
        _name(into): measured,
        f"{_name(into)} bytes": Measured((stored_after - stored) / count),
        f"{_name(into)} WAL": Measured((wal_after["bytes"] - wal["bytes"]) / count),
        f"{_name(into)} images": Measured((wal_after["images"] - wal["images"]) / count),
    }


async def _sizes(pool: Pool) -> tuple[int, Mapping[str, int], Mapping[str, int]]:
    wal, counts = await pool.fetchrow(WAL_SQL), await pool.fetchrow(COUNTS_SQL)
    assert wal is not None, "it has a row"
    assert counts is not None, "it has a row"
    return await pool.fetchval(STORED_SQL), dict(wal), dict(counts)


def _figures(results: Results, sizes: list[int]) -> list[Figure]:
    empty = "growth: into a database of 100,000 customers without a history"
    figures = [rate(f"{empty}", results["0"], "events/s"), *_stored(results, 0, "growth: the same")]
    for size in sizes:
        name = f"growth: {size:,} transactions there"
        figures += [
            rate(name, results[f"{size}"], "events/s"),
            ratio(f"{name}: rate / without a history", results[f"{size}"], results["0"], 0.75),
            *_stored(results, size, name),
        ]
        nearly = [
            item.rate / other.rate for item, other in zip(results[f"{size} bytes"], results["0 bytes"], strict=True)
        ]
        figures.append(Figure(f"{name}: stored / without a history", nearly, "×", 0.85, 1.15))
    return figures


def _stored(results: Results, size: int, name: str) -> list[Figure]:
    images = [item.rate for item in results[f"{size} images"]]
    note = f"full-page images per event: {images[0]:.1f} right after a checkpoint, {images[-1]:.1f} in the last round"
    return [
        Figure(f"{name}: stored per event", [item.rate for item in results[f"{size} bytes"]], "bytes"),
        Figure(f"{name}: WAL per event", [item.rate for item in results[f"{size} WAL"]], "bytes", note=note),
    ]
