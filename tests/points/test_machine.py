"""Any sequence of events, commands, races and time: the ledger equals the mirror."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given

from services.points.handlers import holding, spending
from services.points.handlers.commands import InsufficientPointsError
from services.points.handlers.holding import Reservation
from services.points.handlers.spending import ForReference
from shared.postgres.pool import Pool
from tests.points import books
from tests.points.books import Balances
from tests.points.oracles.machine import Machine, Step, steps
from tests.support.depth import examples


# A failure is worth the minutes that it takes to make its example small.
@pytest.mark.timeout(600)
@given(performed=steps)
@examples(50, deep=400, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
async def test_the_ledger_has_the_balances_of_the_mirror(points_pool: Pool, performed: Sequence[Step]):
    await Machine(points_pool).run(performed)


DAY = timedelta(1)
NOW = timedelta()
SPENT = [("receive", [("buy", 0, (("", "45.00"),), 4 * DAY)]), ("redeem", 4, NOW)]
DRAINED = [*SPENT, ("receive", [("refund", 0, 0, "20.00", "", NOW)])]
ONCE = {
    # Each activation queued a lot once more, so it expired several times.
    "over after another's activation": [
        ("receive", [("buy", 0, (("", "7.77"),), 20 * DAY), ("buy", 1, (("", "45.00"),), NOW)]),
        ("pass", 35 * DAY),
    ],
    # A refund took points that waited for a delivery: points given up without it were then not taken back.
    "drained, never delivered": [*DRAINED, ("pass", 11 * DAY)],
    "drained, then delivered": [*DRAINED, ("receive", [("deliver", 0, NOW)]), ("pass", 11 * DAY)],
    # Points that had expired on arrival paid for a refund in the same batch.
    "over within its batch": [
        ("receive", [("buy", 0, (("", "19.9999"),), 4 * DAY)]),
        ("redeem", 4, NOW),
        ("receive", [("buy", 1, (("", "19.9999"),), 50 * DAY), ("refund", 0, 0, "10.00", "", NOW)]),
    ],
}


@pytest.mark.parametrize("name", ONCE)
async def test_a_past_failure_stays_fixed(points_pool: Pool, name: str):
    await Machine(points_pool).run(ONCE[name])


async def spend(pool: Pool, number: int) -> bool:
    """Take one point, as a redemption or a hold; returns whether a point was left."""
    async with pool.acquire() as connection, connection.transaction():
        try:
            if number % 2:
                await spending.redeem_for_reference(connection, books.call(), ForReference(1, f"r{number}"))
            else:
                await holding.reserve(connection, books.call(), Reservation(1, f"h{number}", timedelta(hours=1)))
        except InsufficientPointsError:
            return False
    return True


@pytest.mark.parametrize("time", range(10))
async def test_50_of_100_concurrent_requests_get_one_of_50_points(points_pool: Pool, time: int):
    await books.adjust(points_pool, "ann", 50)
    got = await asyncio.gather(*(spend(points_pool, number) for number in range(100)))
    final = await books.balances(points_pool)
    assert sum(got) == 50
    assert final == Balances(held=sum(got[::2]), lifetime_redeemed=sum(got[1::2]))
    await books.check_books(points_pool)
