"""The lock of an account that comes with the lots that points are taken from.

Planted and caught here: lots as they were before the statement waited for the lock.
"""

import asyncio
from datetime import timedelta

from services.points.handlers import spending
from services.points.handlers.spending import ForReference
from services.points.store import available
from shared.postgres.pool import Connection, Pool
from tests.points.books import NOW, Balances, adjust, balances, call, check_books, deliver
from tests.points.shop import purchase

WAITING_SQL = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


async def test_the_first_lots_that_suffice_come_with_the_lock(points_pool: Pool):
    for points in range(1, 31):
        await adjust(points_pool, "ann", points)
    async with points_pool.acquire() as connection, connection.transaction():
        every = (await available.read(connection, {"ann": 1000}, NOW))["ann"]
        for points in (1, 2, 100):
            locked = await available.lock_and_read(connection, "ann", points, NOW)
            assert locked is not None
            assert locked.account.available == sum(range(1, 31))
            assert locked.lots is not None
            assert [lot.id for lot in locked.lots] == [lot.id for lot in every[: len(locked.lots)]]
            assert sum(lot.remaining for lot in locked.lots) >= points
        many = await available.lock_and_read(connection, "ann", 460, NOW)
        assert (many is not None, many and many.lots) == (True, None)
        assert await available.lock_and_read(connection, "bob", 1, NOW) is None


async def test_lots_that_expire_by_now_do_not_come_with_the_lock(points_pool: Pool):
    await deliver(points_pool, purchase("1", "10.00"), purchase("2", "20.00"))
    ends = NOW + timedelta(days=1)
    await points_pool.execute("UPDATE lot SET expires_at = $1 WHERE granted = 20", ends)
    async with points_pool.acquire() as connection, connection.transaction():
        before = await available.lock_and_read(connection, "ann", 1, ends - timedelta.resolution)
        at = await available.lock_and_read(connection, "ann", 1, ends)
    remaining = [[lot.remaining for lot in locked.lots or ()] for locked in (before, at) if locked is not None]
    assert remaining == [[20, 10], [10]]


async def test_after_a_wait_for_the_lock_lots_are_read_anew(points_pool: Pool):
    await deliver(points_pool, purchase("1", "10.00"), purchase("2", "20.00"))
    async with points_pool.acquire() as first, points_pool.acquire() as second:
        async with first.transaction():
            await _redeem(first, 25, "first")
            waiting = asyncio.create_task(_lock_and_redeem(second))
            while not await points_pool.fetchval(WAITING_SQL):  # noqa: ASYNC110 PostgreSQL sends no notice
                await asyncio.sleep(0.01)
        is_stale = await waiting
    assert is_stale
    assert await balances(points_pool) == Balances(lifetime_earned=30, lifetime_redeemed=30)
    await check_books(points_pool)


async def _lock_and_redeem(connection: Connection) -> bool:
    """Redeem the rest; returns whether the lots that came with the lock were discarded."""
    async with connection.transaction():
        locked = await available.lock_and_read(connection, "ann", 5, NOW)
        await _redeem(connection, 5, "second")
    return locked is not None and locked.lots is None


async def _redeem(connection: Connection, points: int, reference: str) -> None:
    await spending.redeem_for_reference(connection, call(), ForReference(points, reference))
