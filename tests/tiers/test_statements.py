"""The number of statements of a batch, which does not depend on its size."""

from collections.abc import Sequence

import pytest

from services.tiers.handlers import recording
from services.tiers.handlers.events import handle
from shared.contracts.envelope import Event
from shared.postgres.pool import Pool
from tests.support.counting import Counting
from tests.tiers.applied import NOW, apply
from tests.tiers.shop import activity, day, points, purchase, referral, refund, review, withdrawal


async def statements(pool: Pool, events: Sequence[Event]) -> int:
    """The number of statements that recording takes."""
    async with pool.acquire() as connection, connection.transaction():
        counting = Counting(connection)
        await recording.record(counting, events)  # pyright: ignore[reportArgumentType]
        return counting.statements


async def handled(pool: Pool, events: Sequence[Event]) -> int:
    """The number of statements that a batch takes in all."""
    async with pool.acquire() as connection, connection.transaction():
        counting = Counting(connection)
        await handle(counting, events, NOW)  # pyright: ignore[reportArgumentType]
        return counting.statements


def purchases(count: int, time: float) -> list[Event]:
    """One of each customer."""
    return [purchase(f"{time}", "1.00", day(time), customer_id=f"c{number}") for number in range(count)]


@pytest.mark.parametrize("batch", [5, 500])
async def test_a_batch_of_new_purchases_takes_three_to_record(tiers_pool: Pool, batch: int):
    await apply(tiers_pool, *purchases(batch, 0))
    assert await statements(tiers_pool, purchases(batch, 400)) == 3


@pytest.mark.parametrize("batch", [5, 500])
async def test_a_batch_of_points_takes_four(tiers_pool: Pool, batch: int):
    earned = [points(f"t{number}", 5, customer_id=f"c{number}") for number in range(batch)]
    assert await statements(tiers_pool, earned) == 4


@pytest.mark.parametrize("count", [2, 100])
@pytest.mark.parametrize("step", [1, -1])
async def test_a_batch_of_all_kinds_takes_at_most_fourteen(tiers_pool: Pool, count: int, step: int):
    await apply(
        tiers_pool, *purchases(count, 10), *(review("old", customer_id=f"c{number}") for number in range(count))
    )
    assert await statements(tiers_pool, mixed(count)[::step]) <= 14


@pytest.mark.parametrize("batch", [5, 500])
async def test_a_batch_of_purchases_in_order_takes_at_most_a_dozen(tiers_pool: Pool, batch: int):
    await apply(tiers_pool, *purchases(batch, 0))
    promoting = [purchase("p", "600.00", day(401), customer_id=f"c{number}") for number in range(0, batch, 5)]
    assert await handled(tiers_pool, [*purchases(batch, 400), *promoting]) <= 12


@pytest.mark.parametrize("step", [1, -1])
async def test_a_batch_of_all_kinds_takes_at_most_35(tiers_pool: Pool, step: int):
    await apply(tiers_pool, *purchases(500, 10), *(review("old", customer_id=f"c{number}") for number in range(100)))
    assert await handled(tiers_pool, mixed(100)[::step]) <= 35


def mixed(count: int) -> list[Event]:
    """For every customer: events of all kinds, in order and late, some of which take back, and some of which wait."""
    events: list[Event] = []
    for number in range(count):
        name = f"c{number}"
        events += [
            purchase("new", "10.00", day(20), customer_id=name),
            purchase("late", "700.00", day(5), customer_id=name),
            refund("10", "r", "0.50", day(11), customer_id=name),
            refund("unknown", "r", "0.50", day(11), customer_id=name),
            review("new", day(21), customer_id=name),
            withdrawal("old", day(22), customer_id=name),
            withdrawal("unknown", day(22), customer_id=name),
            activity("a", day(23), customer_id=name),
            referral("r", day(1), customer_id=name),
            referral("s", day(1), customer_id=name, verb="voided"),
            points("t", 10, day(20), customer_id=name),
            points("u", 5, day(24), customer_id=name, verb="reversed"),
            points("v", 5, day(24), customer_id=name, verb="reversed", reason={"kind": "refund", "order_id": "2"}),
        ]
    return events
