"""The cost of an event, in rows and statements, does not depend on its customer's history."""

from datetime import timedelta
from fractions import Fraction

import pytest

from services.tiers.handlers.events import handle
from services.tiers.handlers.standing import read_status
from services.tiers.handlers.verifying import verify
from shared.contracts.envelope import Event
from shared.postgres.pool import Pool
from tests.support.counting import Counting
from tests.tiers.applied import NOW, apply, timeline
from tests.tiers.shop import NOON, day, purchase, refund


async def cost(pool: Pool, *events: Event) -> tuple[int, int]:
    """Statements and rows of a batch, which is applied."""
    async with pool.acquire() as connection, connection.transaction():
        counting = Counting(connection)
        await handle(counting, events, NOW)  # pyright: ignore[reportArgumentType]
        return counting.statements, counting.rows


def history(count: int) -> list[Event]:
    """So many orders within two years, the newest first, and small enough that the highest tier is not reached."""
    return [purchase(f"{number}", "0.30", day(-number * 730 / count)) for number in range(count)]


async def offenders(pool: Pool) -> list[str]:
    """The checks that `verify` fails."""
    return [check.name async for check in verify(pool, 10, NOW) if check.offenders]


async def grown(pool: Pool, count: int) -> None:
    for start in range(0, count, 500):
        await apply(pool, *history(count)[start : start + 500])


@pytest.mark.parametrize(("shift", "most"), [(-200, 60), (400, 300)])
async def test_an_order_reads_little_however_many_orders_there_are(tiers_pool: Pool, shift: float, most: int):
    await grown(tiers_pool, 3_000)
    assert await offenders(tiers_pool) == []
    statements, rows = await cost(tiers_pool, purchase("new", "0.30", day(shift)))
    assert statements < 25
    assert rows < most


async def test_what_a_day_holds_need_not_be_read(tiers_pool: Pool):
    at_once = [purchase(f"{number}", "0.30", NOON - timedelta(seconds=number)) for number in range(3_000)]
    for start in range(0, 3_000, 500):
        await apply(tiers_pool, *at_once[start : start + 500])
    _, rows = await cost(tiers_pool, purchase("late", "0.30", NOON - timedelta(seconds=1_000.5)))
    assert rows < 60
    _, rows = await cost(tiers_pool, purchase("next year", "0.30", day(500)))
    assert rows < 300
    assert (await read_status(tiers_pool, "ann", day(501))).spend == Fraction("0.30")


@pytest.mark.parametrize("total", ["5000.00", "5.00"])
@pytest.mark.parametrize("step", [1, -1])
async def test_a_refund_reads_few_others(tiers_pool: Pool, total: str, step: int):
    await apply(tiers_pool, purchase("o", total))
    refunds = [refund("o", f"r{number}", "0.01", day(1) + timedelta(seconds=number * step)) for number in range(2_000)]
    for start in range(0, 2_000, 500):
        await apply(tiers_pool, *refunds[start : start + 500])
    for late in (day(2), day(1) + timedelta(seconds=100.5 * step), day(0.5)):
        statements, rows = await cost(tiers_pool, refund("o", f"late {late}", "0.01", late))
        assert statements < 25
        assert rows < 150
    assert await offenders(tiers_pool) == []


async def test_a_customer_from_before_the_curve_is_counted_once(tiers_pool: Pool):
    events = history(700)
    await apply(tiers_pool, *events, refund("600", "r", "0.10", day(0)), refund("600", "s", "0.10", day(-1)))
    # As the migration finds a database that is filled.
    await tiers_pool.execute("""
        DELETE FROM spend_curve; DELETE FROM loose_refund;
        UPDATE customer SET curve_until = NULL, loose = NULL; UPDATE purchase SET folded = NULL
    """)
    assert (await read_status(tiers_pool, "ann", day(900))).spend == 0
    assert (await cost(tiers_pool, purchase("first", "200.00", day(-300))))[1] > 700
    assert (await cost(tiers_pool, purchase("second", "200.00", day(-200))))[1] < 60
    await apply(tiers_pool, refund("600", "t", "0.05", day(-1)))
    assert await timeline(tiers_pool) == [(day(-200), "silver")]
    assert await offenders(tiers_pool) == []


async def test_refunds_by_line_and_by_share_read_no_others_while_there_is_plenty(tiers_pool: Pool):
    await apply(tiers_pool, purchase("o", "60.00", lines=(("a", "30.00"), ("b", "30.00"))))
    refunds = [
        refund("o", f"r{number}", "0.01", day(9) - timedelta(seconds=number), lines=(("a", "0.01"),) * (number % 2))
        for number in range(1_500)
    ]
    for start in range(0, 1_500, 500):
        await apply(tiers_pool, *refunds[start : start + 500])
    assert (await cost(tiers_pool, refund("o", "late", "0.01", day(1))))[1] < 60
    assert await offenders(tiers_pool) == []
    # Now a line runs short, and all have to be read.
    await apply(tiers_pool, refund("o", "last", "25.00", day(2), lines=(("a", "25.00"),)))
    assert await offenders(tiers_pool) == []
