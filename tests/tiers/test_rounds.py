"""Computations whose requests are answered by the database."""

import threading
from datetime import datetime

from services.tiers.handlers.rounds import run_apart
from services.tiers.rules.metrics import Amount, Reading, Request
from shared.postgres.pool import Pool
from tests.tiers.applied import apply
from tests.tiers.shop import day, purchase


async def test_a_long_computation_leaves_the_event_loop_to_others(tiers_pool: Pool):
    await apply(tiers_pool, purchase("1", "2.50", day(0)), purchase("2", "1.00", day(2)))
    threads: set[threading.Thread] = set()

    def adding(*moments: datetime) -> Reading[Amount]:
        total: Amount = 0
        for moment in moments:
            threads.add(threading.current_thread())
            [sums] = yield [Request(None, None, moment)]
            assert isinstance(sums, dict)
            total += sums["spend", "USD"]  # pyright: ignore[reportArgumentType, reportOperatorIssue, reportUnknownVariableType]
        return total

    async with tiers_pool.acquire() as connection:
        assert await run_apart(connection, "ann", adding(day(1), day(3))) == 25_000 + 35_000
        assert await run_apart(connection, "ann", adding()) == 0
    assert threads
    assert threading.main_thread() not in threads
