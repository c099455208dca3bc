"""Jobs over all customers whose process is killed while it works: another worker goes on where it was."""

import asyncio
import sys
from collections import Counter

from services.tiers.handlers.applying import apply_versions
from services.tiers.handlers.simulating import simulate
from shared.postgres.pool import Pool, open_pool
from tests.support import postgres
from tests.tiers import what_if
from tests.tiers.applied import published
from tests.tiers.test_applying import FULL
from tests.tiers.test_simulating import LOWER, NOW, crowd

CUSTOMERS = 60


async def kill_while_working(pool: Pool, url: str, job: str) -> int:
    """Run a job in a process, and kill that in the middle; returns the number of slices that it did."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.tiers.slow_job", url, job, NOW.isoformat()
    )
    async with asyncio.timeout(30):
        while await pool.fetchval("SELECT count(outcome) FROM slice") < 5:  # noqa: ASYNC110 only the database knows
            await asyncio.sleep(0.01)
    process.kill()
    await process.wait()
    done: int = await pool.fetchval("SELECT count(outcome) FROM slice")
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
