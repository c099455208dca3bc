"""The number of statements of a batch, which does not depend on its size."""

from collections.abc import Sequence

import pytest

from services.tiers.handlers.events import handle
from shared.contracts.envelope import Event
from shared.postgres.pool import Pool
from tests.support.counting import Counting
from tests.tiers.applied import NOW, apply
from tests.tiers.shop import day, purchase, refund


async def statements(pool: Pool, events: Sequence[Event]) -> int:
    async with pool.acquire() as connection, connection.transaction():
        counting = Counting(connection)
        await handle(counting, events, NOW)  # pyright: ignore[reportArgumentType]
        return counting.statements


def purchases(count: int, time: float) -> list[Event]:
    """One of each customer; every fifth reaches a tier with it."""
    return [
        purchase(f"{time}", "600.00" if number % 5 == 0 else "1.00", day(time), customer_id=f"c{number}")
        for number in range(count)
    ]


@pytest.mark.parametrize(("batch", "most"), [(5, 12), (500, 12)])
async def test_a_batch_of_purchases_in_order_takes_at_most_a_dozen(tiers_pool: Pool, batch: int, most: int):
    await apply(tiers_pool, *purchases(batch, 0))
    assert await statements(tiers_pool, purchases(batch, 400)) <= most


@pytest.mark.parametrize("step", [1, -1])
async def test_a_mixed_batch_takes_at_most_21(tiers_pool: Pool, step: int):
    await apply(tiers_pool, *purchases(500, 10))
    assert await statements(tiers_pool, mixed(100)[::step]) <= 21


def mixed(count: int) -> list[Event]:
    """For every customer: a purchase in order, a late one, a refund, and a refund of an unknown order."""
    events: list[Event] = []
    for number in range(count):
        customer_id = f"c{number}"
        events += [
            purchase("new", "10.00", day(20), customer_id=customer_id),
            purchase("late", "700.00", day(5), customer_id=customer_id),
            refund("10", "r", "0.50", day(11), customer_id=customer_id),
            refund("unknown", "r", "0.50", day(11), customer_id=customer_id),
        ]
    return events
