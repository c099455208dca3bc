"""Does it slow down as the database grows? The same purchases into databases that hold ever more already."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Final

from shared.postgres.pool import Pool
from tests.bench import draining, preload, stream
from tests.bench.draining import Drain
from tests.bench.figures import Figure, Measured, rate, ratio
from tests.bench.plan import Plan
from tests.bench.rounds import Results, WrongEffectError

EVENTS: Final = 12_000
SIZES: Final = (100_000, 1_000_000, 5_000_000)

# The outbox is emptied by the relay: it is not stored.
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
    """A database with so many transactions before the first round."""

    transactions: int
    url: str
    pool: Pool


async def measure(plan: Plan) -> list[Figure]:
    """In each round the next purchases go into every database, and into one that is empty but for its customers."""
    async with AsyncExitStack() as stack:
        databases: list[_Database] = []
        await preload.hurry(plan.bed)
        for size in (plan.events(full) for full in SIZES):
            plan.say(f"making {size:,} transactions")
            url, pool = await stack.enter_async_context(plan.bed.database())
            await preload.fill(pool, size)
            databases.append(_Database(size, url, pool))
        await preload.hurry_no_more(plan.bed)
        found: dict[str, list[Measured]] = {}
        for number in range(plan.rounds):
            for name, measured in (await _round(plan, databases, number)).items():
                found.setdefault(name, []).append(measured)
    return _figures(found, [one.transactions for one in databases])


async def _round(plan: Plan, databases: list[_Database], number: int) -> Mapping[str, Measured]:
    count = plan.events(EVENTS, 3_000)
    await plan.bed.fill(stream.scattered(plan.year, count, number * count, preload.CUSTOMERS))
    sides = [partial(_into_empty, plan, count), *(partial(_into, plan, count, one) for one in databases)]
    found: dict[str, Measured] = {}
    for side in sides if number % 2 == 0 else reversed(sides):
        found |= await side()
    told = ", ".join(f"{name} {one.rate:,.0f}" for name, one in found.items())
    plan.say(f"round {number + 1} of {plan.rounds}: {told}")
    return found


async def _into_empty(plan: Plan, count: int) -> Mapping[str, Measured]:
    async with plan.bed.database() as (url, pool):
        await preload.fill(pool, 0)
        return await _into(plan, count, _Database(0, url, pool))


async def _into(plan: Plan, count: int, into: _Database) -> Mapping[str, Measured]:
    """Drain the topic into a database, right after a checkpoint, and see what it added."""
    pool = into.pool
    await pool.execute("CHECKPOINT", timeout=120)
    stored, wal, before = await _sizes(pool)
    measured = await draining.drain_into(plan.bed, (into.url, pool), Drain(count))
    stored_after, wal_after, after = await _sizes(pool)
    added = {name: after[name] - before[name] for name in before}
    if added["transactions"] != count or added["orders"] != count or not added["outbox"] or added["dead"]:
        raise WrongEffectError(f"of {count} events came {added}")
    await pool.execute("TRUNCATE outbox")
    return {
        f"{into.transactions}": measured,
        f"{into.transactions} bytes": Measured((stored_after - stored) / count),
        f"{into.transactions} WAL": Measured((wal_after["bytes"] - wal["bytes"]) / count),
        f"{into.transactions} images": Measured((wal_after["images"] - wal["images"]) / count),
    }


async def _sizes(pool: Pool) -> tuple[int, Mapping[str, int], Mapping[str, int]]:
    wal, counts = await pool.fetchrow(WAL_SQL), await pool.fetchrow(COUNTS_SQL)
    assert wal is not None, "it has a row"
    assert counts is not None, "it has a row"
    return await pool.fetchval(STORED_SQL), dict(wal), dict(counts)


def _figures(found: Results, sizes: list[int]) -> list[Figure]:
    empty = "growth: into a database of 100,000 customers without a history"
    made = [rate(f"{empty}", found["0"], "events/s"), *_stored(found, 0, "growth: the same")]
    for size in sizes:
        name = f"growth: {size:,} transactions there"
        made += [
            rate(name, found[f"{size}"], "events/s"),
            ratio(f"{name}: rate / without a history", found[f"{size}"], found["0"], 0.75),
            *_stored(found, size, name),
        ]
        nearly = [one.rate / other.rate for one, other in zip(found[f"{size} bytes"], found["0 bytes"], strict=True)]
        made.append(Figure(f"{name}: stored / without a history", nearly, "×", 0.85, 1.15))
    return made


def _stored(found: Results, size: int, name: str) -> list[Figure]:
    images = Figure("", [one.rate for one in found[f"{size} images"]]).median
    note = f"right after a checkpoint: with {images:.1f} full-page images per event"
    return [
        Figure(f"{name}: stored per event", [one.rate for one in found[f"{size} bytes"]], "bytes"),
        Figure(f"{name}: WAL per event", [one.rate for one in found[f"{size} WAL"]], "bytes", note=note),
    ]
