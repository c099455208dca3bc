"""Customers are locked in one order everywhere, also those of whom nobody has heard: else two could deadlock."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Any

import asyncpg
import pytest

from services.notifications.store import customers as notified
from services.points.store import accounts
from services.tiers.store import customers as ranked
from shared.postgres.pool import Connection
from tests.support import postgres

LOCKS: dict[str, Callable[[Connection, Collection[str]], Awaitable[dict[str, Any]]]] = {
    "points": accounts.lock,
    "tiers": ranked.lock,
    "notifications": notified.lock,
}
BLOCKED_SQL = "SELECT cardinality(pg_blocking_pids($1)) > 0"


@pytest.mark.parametrize("service", LOCKS)
async def test_whoever_is_new_gets_a_row_before_anybody_is_locked(postgres_url: str, service: str):
    lock = LOCKS[service]
    async with (
        postgres.database(postgres_url, service) as pool,
        pool.acquire() as first,
        pool.acquire() as second,
        pool.acquire() as third,
    ):
        await lock(first, ["zoë"])

        async def want_both() -> Collection[str]:
            async with second.transaction():
                return await lock(second, ["ann", "zoë"])

        async with first.transaction():
            await lock(first, ["zoë"])
            waiting = asyncio.create_task(want_both())
            async with asyncio.timeout(10):
                while not await third.fetchval(BLOCKED_SQL, second.get_server_pid()):  # noqa: ASYNC110 it can only be asked
                    await asyncio.sleep(0.01)
            await third.execute("SET lock_timeout = '100ms'")
            with pytest.raises(asyncpg.LockNotAvailableError):
                await lock(third, ["ann"])
        assert set(await waiting) == {"ann", "zoë"}
