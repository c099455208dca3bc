"""A draft of the tier program simulated over, and published to, many customers with long histories."""

import asyncio
import gc
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final

import psutil

from deploy.sample.cloudevent import CloudEvent
from deploy.sample.publisher import connect
from services.tiers.handlers.simulating import simulate
from shared.messaging.host import GARBAGE_THRESHOLD
from shared.postgres.pool import Connection, Pool
from tests.bench import preload, stream
from tests.bench.figures import Figure
from tests.bench.plan import Plan
from tests.bench.processes import worker
from tests.bench.rounds import WrongEffectError
from tests.bench.volume import unbounded
from tests.tiers import programs, what_if

CUSTOMERS: Final = 100_000
PURCHASES_EACH: Final = int(os.environ.get("BENCH_PURCHASES_EACH", "30"))
LIVE: Final = 200
"""Purchases per second beside a publication."""

_TIMEOUT: Final = 1800.0
_PATIENCE: Final = 300.0
_TICK: Final = 0.05
_MEGABYTE: Final = 1024 * 1024

LOWER: Final = programs.changed(programs.DEFAULT, ("/tiers/2/enter/0/0/at_least", "1375"))
"""Version 1 with a lower spend for Gold, which a tenth of the customers has."""

# Purchases of 1.00 to 101.00 by random customers, over the 400 days before $3, in the order of time.
PURCHASES_SQL = """
INSERT INTO purchase (customer_id, order_id, source, purchased_at, currency, total, lines, digest, folded)
SELECT 'c-' || 1 + (hashint8extended(n, 5) & 2147483647) % $1::bigint, 'o-' || n, '/shop/web',
       $3::timestamptz - interval '400 days' * (1 - n::float8 / ($1 * $2)), 'USD',
       1 + (hashint8extended(n, 7) & 2147483647) % 10001 / 100.0, NULL, n, '{}'
FROM generate_series(1, $1::bigint * $2::bigint) AS n
"""

# What the judging of these purchases by version 1 leaves: the tier by the spend of the window of the last one.
CUSTOMERS_SQL = """
INSERT INTO customer (customer_id, judged_at, tier, since, program_version, state)
SELECT customer_id, judged_at, tier, since, 1, json_strip_nulls(json_build_object(
           'standing', CASE tier WHEN 'member' THEN json_build_object('tier', tier) ELSE json_build_object(
               'tier', tier, 'since', since, 'basis', basis, 'reached', json_build_array(json_build_array(tier, basis)))
           END,
           'version', 1, 'at', judged_at, 'anchor', anchor, 'oldest', oldest,
           'metrics', json_build_object('spend', spend * 10000, 'orders', orders)))
FROM (
    SELECT customer_id, judged_at, anchor, oldest, spend::bigint AS spend, orders, tier,
           CASE WHEN tier <> 'member' THEN judged_at END AS since,
           json_build_object('version', 1, 'tier', tier, 'periods', json_build_array(json_build_array(
               judged_at::date - 364 + '00:00+00'::timetz, judged_at + interval '1 microsecond'))) AS basis
    FROM (
        SELECT customer_id, judged_at, anchor, oldest, spend, orders,
               CASE WHEN spend >= 1500 THEN 'gold' WHEN spend >= 500 THEN 'silver' ELSE 'member' END AS tier
        FROM (
            SELECT purchase.customer_id, judged_at, anchor, min(purchased_at) AS oldest, sum(total) AS spend,
                   count(*) AS orders
            FROM (SELECT customer_id, max(purchased_at) AS judged_at, min(purchased_at) AS anchor
                  FROM purchase GROUP BY customer_id) AS last
            JOIN purchase ON purchase.customer_id = last.customer_id
                         AND purchased_at >= judged_at::date - 364 + '00:00+00'::timetz
            GROUP BY purchase.customer_id, judged_at, anchor
        ) AS window_
    ) AS judged
) AS customer
"""

# The plain aggregate: what an analyst would ask, in one statement, without an answer for each customer.
PLAIN_SQL = """
SELECT count(*), sum((spend >= 500)::int), sum((spend >= 1400)::int), sum(orders)
FROM (
    SELECT customer_id, sum(total) AS spend, count(*) AS orders
    FROM purchase
    WHERE purchased_at >= $1 AND purchased_at < $2 AND currency = 'USD' AND total > 0
    GROUP BY customer_id
) AS spent
"""


async def measure(plan: Plan) -> list[Figure]:
    """A simulation beside the plain aggregate, and a publication beside live traffic."""
    customers = plan.events(CUSTOMERS)
    now = datetime.now(UTC)
    await preload.hurry(plan.bed)
    async with plan.bed.database("tiers") as (_, small), plan.bed.database("tiers") as (url, pool):
        for own, count in ((small, customers // 10), (pool, customers)):
            plan.say(f"filling {count * PURCHASES_EACH:,} purchases of {count:,} customers")
            await fill(own, count, now)
        await preload.hurry_no_more(plan.bed)
        _, growth_small = await _simulate(small, now)
        return [*await _simulations(plan, pool, now, growth_small), *await _publish(plan, url, pool)]


async def fill(pool: Pool, customers: int, now: datetime) -> None:
    """Insert purchases of customers, and what judging them by version 1 leaves."""
    async with unbounded(pool) as connection:
        await connection.execute(PURCHASES_SQL, customers, PURCHASES_EACH, now, timeout=_TIMEOUT)
        await connection.execute("ANALYZE purchase")
        await connection.execute(CUSTOMERS_SQL, timeout=_TIMEOUT)
        await connection.execute("VACUUM (ANALYZE)", timeout=_TIMEOUT)


async def plain(connection: Connection, now: datetime) -> float:
    """The seconds of the plain aggregate over the same rows."""
    began = time.perf_counter()
    await connection.fetchrow(PLAIN_SQL, now - timedelta(days=365), now, timeout=_TIMEOUT)
    return time.perf_counter() - began


async def _simulations(plan: Plan, pool: Pool, now: datetime, growth_small: float) -> list[Figure]:
    """Simulations, each right after the plain aggregate."""
    seconds: list[float] = []
    ratios: list[float] = []
    growths: list[float] = []
    async with unbounded(pool) as connection:
        await plain(connection, now)
        for number in range(plan.rounds):
            aggregate = await plain(connection, now)
            own, growth = await _simulate(pool, now)
            seconds.append(own)
            ratios.append(aggregate / own)
            growths.append(growth)
            taken = f"simulated in {own:.1f} s and {growth:.0f} MB, aggregate {aggregate:.1f} s"
            plan.say(f"round {number + 1} of {plan.rounds}: {taken}")
    customers = plan.events(CUSTOMERS)
    what = f"{customers:,} customers with {customers * PURCHASES_EACH:,} purchases"
    note = f"for a tenth of the customers: {growth_small:.0f} MB"
    return [
        Figure(f"tier programs: simulate a draft over {what}", seconds, "s", at_most=10 * customers / CUSTOMERS),
        Figure("tier programs: rate of the simulation / of the plain aggregate", ratios, "×", at_least=0.3),
        Figure("tier programs: memory that a simulation takes", [max(growths)], "MB", at_most=50, note=note),
    ]


async def _simulate(pool: Pool, now: datetime) -> tuple[float, float]:
    """The seconds of a simulation, and the growth of this process's memory in megabytes."""
    drafted = await what_if.draft(pool, LOWER, now)
    simulation = await what_if.start(pool, drafted, datetime.now(UTC), now)
    # As in a worker: with Python's default it collects after every few customers.
    gc.set_threshold(GARBAGE_THRESHOLD)
    async with _watched() as peak:
        began = time.perf_counter()
        await simulate(pool, now)
        elapsed = time.perf_counter() - began
    found: Any = await what_if.find(pool, simulation)
    customers = await pool.fetchval("SELECT count(*) FROM customer")
    if found.state != "done" or found.result["customers"] != customers:
        raise WrongEffectError(f"the simulation is {found.state}: {found.failure or found.result}")
    return elapsed, peak[1] - peak[0]


@asynccontextmanager
async def _watched() -> AsyncIterator[list[float]]:
    """The memory of this process in megabytes: before, and at most meanwhile."""
    process = psutil.Process()
    sizes = [process.memory_info().rss / _MEGABYTE] * 2

    async def watch() -> None:
        while True:
            sizes[1] = max(sizes[1], process.memory_info().rss / _MEGABYTE)
            await asyncio.sleep(_TICK)

    watching = asyncio.create_task(watch())
    try:
        yield sizes
    finally:
        watching.cancel()


async def _publish(plan: Plan, url: str, pool: Pool) -> list[Figure]:
    """Publish a draft while a worker handles purchases of the same customers."""
    await plan.bed.fill(())
    customers = plan.events(CUSTOMERS)
    drafted = await what_if.draft(pool, LOWER, datetime.now(UTC))
    before = await pool.fetchval("SELECT count(*) FROM purchase")
    async with worker(plan.bed, url, "tiers"), _traffic(plan) as sent:
        await _until(pool, f"SELECT count(*) >= {before + LIVE} FROM purchase")
        bought, began = await pool.fetchval("SELECT count(*) FROM purchase"), time.perf_counter()
        now = datetime.now(UTC)
        await what_if.publish(pool, drafted.version, now, now)
        await _until(pool, "SELECT applied_at IS NOT NULL FROM publication")
        elapsed = time.perf_counter() - began
        handled = await pool.fetchval("SELECT count(*) FROM purchase") - bought
    plan.say(f"published in {elapsed:.1f} s beside {handled / elapsed:.0f} purchases/s of {sent[0]} sent")
    moved = await pool.fetchval(MOVED_SQL)
    dead = await pool.fetchval("SELECT count(*) FROM dead_letter")
    old = await pool.fetchval("SELECT count(*) FROM customer WHERE program_version <> $1", drafted.version)
    if dead or old or not 0.08 * customers <= moved <= 0.12 * customers:
        raise WrongEffectError(f"{moved} customers moved, {old} were left as they were, {dead} dead letters")
    return [
        Figure(f"tier programs: publish to {customers:,} customers of whom {moved:,} move", [elapsed], "s", at_most=60),
        Figure("tier programs: purchases handled meanwhile", [handled / elapsed], "events/s", at_least=0.8 * LIVE),
    ]


MOVED_SQL = """
SELECT count(DISTINCT customer_id) FROM tier_change WHERE reason = 'program' AND kind = 'promoted'
"""


@asynccontextmanager
async def _traffic(plan: Plan) -> AsyncIterator[list[int]]:
    """Purchases of random customers of now, at a steady rate; the number of them."""
    customers, chance, sent = plan.events(CUSTOMERS), Random(9), [0]
    baskets = stream.purchases(plan.year, 10**9)

    def of_now(event: CloudEvent) -> CloudEvent:
        customer = f"c-{1 + chance.randrange(customers)}"
        return replace(event, time=datetime.now(UTC), data={**event.data, "customer_id": customer})

    async def send() -> None:
        async with connect(plan.bed.bootstrap, idempotent=not plan.bed.embedded) as publisher:
            began = time.perf_counter()
            while True:
                due = int((time.perf_counter() - began) * LIVE)
                await publisher.send_all([of_now(next(baskets)) for _ in range(due - sent[0])])
                sent[0] = due
                await asyncio.sleep(_TICK)

    sending = asyncio.create_task(send())
    try:
        yield sent
    finally:
        sending.cancel()


async def _until(pool: Pool, question: str) -> None:
    async with asyncio.timeout(_PATIENCE):
        while not await pool.fetchval(question):  # noqa: ASYNC110 only the database knows
            await asyncio.sleep(_TICK)
