"""Jobs over all customers whose process is killed while it works: another worker goes on where it was."""

import asyncio
import sys
from collections import Counter
from datetime import datetime, timedelta

from services.tiers.handlers import day as sweeping
from services.tiers.handlers.applying import apply_versions
from services.tiers.handlers.simulating import simulate
from shared.postgres.pool import Pool, open_pool
from tests.support import postgres
from tests.tiers import what_if
from tests.tiers.applied import apply, published
from tests.tiers.given import replace_first
from tests.tiers.oracles.written import program
from tests.tiers.shop import NOON, purchase
from tests.tiers.test_applying import FULL
from tests.tiers.test_simulating import LOWER, NOW, crowd

CUSTOMERS = 60


SLICES_SQL = "SELECT count(outcome) FROM slice"

FALLEN_SQL = "SELECT count(*) FROM tier_change WHERE kind = 'demoted'"


async def kill_while_working(pool: Pool, url: str, job: str, done_sql: str = SLICES_SQL, now: datetime = NOW) -> int:
    """Run a job in a process, and kill that in the middle; returns how much of it was done, by a statement."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.tiers.slow_job", url, job, now.isoformat()
    )
    async with asyncio.timeout(30):
        while await pool.fetchval(done_sql) < 5:  # noqa: ASYNC110 only the database knows
            await asyncio.sleep(0.01)
    process.kill()
    await process.wait()
    done: int = await pool.fetchval(done_sql)
    assert 5 <= done < CUSTOMERS / 2
    return done


async def test_a_simulation_survives_its_worker(postgres_url: str):
    url = await postgres.make_database(postgres_url, "tiers")
    async with await open_pool(url, application="wafa-test") as pool:
        await crowd(pool, CUSTOMERS)
        drafted = await what_if.draft(pool, LOWER, NOW)
        simulation = await what_if.start(pool, drafted, NOW, NOW)
        await kill_while_working(pool, url, "simulate")
        assert (await what_if.find(pool, simulation)).state == "running"
        await simulate(pool, NOW)
        found = await what_if.find(pool, simulation)
        assert found.result is not None
        assert found.result["customers"] == CUSTOMERS - 1
        assert len(await what_if.customers_of(pool, simulation)) == CUSTOMERS - 1
        again = await what_if.start(pool, drafted, NOW, NOW)
        await simulate(pool, NOW)
        assert (await what_if.find(pool, again)).result == found.result


async def test_a_publication_survives_its_worker(postgres_url: str):
    url = await postgres.make_database(postgres_url, "tiers")
    async with await open_pool(url, application="wafa-test") as pool:
        await crowd(pool, CUSTOMERS)
        before = len(await published(pool))
        drafted = await what_if.draft(pool, FULL, NOW)
        await what_if.publish(pool, drafted.version, NOW, NOW)
        await kill_while_working(pool, url, "apply")
        some = len(await published(pool)) - before
        await apply_versions(pool, NOW)
        told = Counter(event["data"]["customer_id"] for event in (await published(pool))[before:])
        assert set(told.values()) == {1}
        assert 0 < some < len(told)
        assert await pool.fetchval("SELECT count(*) FROM customer WHERE program_version <> $1", drafted.version) == 0
        assert await pool.fetchval("SELECT applied_at FROM publication") == NOW


async def test_a_sweep_survives_its_worker(postgres_url: str):
    url = await postgres.make_database(postgres_url, "tiers")
    later = NOON + timedelta(days=30)
    async with await open_pool(url, application="wafa-test") as pool:
        await replace_first(pool, program())  # ten days, one step down without grace
        await apply(pool, *(purchase("1", "100.00", customer_id=f"c{n:02}") for n in range(CUSTOMERS)), now=NOON)
        await kill_while_working(pool, url, "sweep", FALLEN_SQL, later)
        counts = [await sweeping.sweep(pool, later) for _ in range(2)]
        assert 0 < counts[0]["demoted"] < CUSTOMERS
        assert counts[1] == Counter()
        told = Counter(event["data"]["customer_id"] for event in (await published(pool))[CUSTOMERS:])
        assert len(told) == CUSTOMERS
        assert set(told.values()) == {1}
        assert await pool.fetchval("SELECT count(*) FROM customer WHERE tier <> 'member' OR due_at IS NOT NULL") == 0
