"""The books of a request: matured points are written when the block ends, and nothing after an exception.

Planted and caught here: a block that is left early and writes nothing; one that fails and writes; a write where nothing
changed; a reference that was used before and takes points again.
"""

from datetime import timedelta
from typing import Any

import pytest

from services.points.handlers import commands, spending
from services.points.handlers.commands import open_books
from services.points.handlers.spending import ForReference
from shared.postgres.pool import Pool
from tests.points import books
from tests.points.books import adjust, call, deliver
from tests.points.shop import NOON, purchase
from tests.points.test_planted import FIVE_DAYS, rule, rules

KINDS_SQL = "SELECT array_agg(kind ORDER BY sequence) FROM transaction"


async def expired(pool: Pool) -> None:
    """Give ann points that have expired, without writing the expiry."""
    await rules(pool, rule(expire=FIVE_DAYS))
    await deliver(pool, purchase("o", "100.00"), now=NOON)


async def test_a_block_that_returns_early_writes_matured_points(points_pool: Pool):
    await expired(points_pool)

    async def leave_early(connection: Any) -> str:
        async with open_books(connection, call(now=NOON + timedelta(9))) as opened:
            return opened.call.customer_id

    async with points_pool.acquire() as connection, connection.transaction():
        assert await leave_early(connection) == "ann"
    assert await points_pool.fetchval(KINDS_SQL) == ["earned", "expired"]


async def test_a_block_that_fails_writes_nothing(points_pool: Pool):
    await expired(points_pool)
    async with points_pool.acquire() as connection:
        with pytest.raises(LookupError):
            async with open_books(connection, call(now=NOON + timedelta(9))):
                raise LookupError
    assert await points_pool.fetchval(KINDS_SQL) == ["earned"]


async def test_nothing_is_written_if_nothing_changed(points_pool: Pool, monkeypatch: pytest.MonkeyPatch):
    async def write(*_: Any) -> bool:
        raise AssertionError("a write of nothing")

    monkeypatch.setattr(commands, "write_command", write)
    async with points_pool.acquire() as connection, connection.transaction():
        async with open_books(connection, call()) as opened:
            pass
        assert not opened.is_written


async def test_a_used_reference_writes_nothing(points_pool: Pool):
    await adjust(points_pool, "ann", 100)
    made = []
    for _ in range(2):
        async with points_pool.acquire() as connection, connection.transaction():
            made.append(await spending.redeem_for_reference(connection, call(), ForReference(30, "till-1")))
    assert made[0] == made[1]
    assert await points_pool.fetchval(KINDS_SQL) == ["adjusted", "redeemed"]
    assert (await books.balances(points_pool)).available == 70
