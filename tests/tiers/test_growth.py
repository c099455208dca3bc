"""The cost of recording an event, in rows and statements, does not depend on its customer's history."""

from datetime import timedelta

import pytest

from services.tiers.handlers import recording
from services.tiers.handlers.verifying import verify
from services.tiers.rules.metrics import Request
from services.tiers.store import metrics
from shared.contracts.envelope import Event
from shared.postgres.pool import Pool
from tests.support.counting import Counting
from tests.tiers.applied import NOW, apply
from tests.tiers.shop import day, points, purchase, refund, review, withdrawal


async def cost(pool: Pool, *events: Event) -> tuple[int, int]:
    """Statements and rows that recording a batch takes; the batch is recorded."""
    async with pool.acquire() as connection, connection.transaction():
        counting = Counting(connection)
        await recording.record(counting, events)  # pyright: ignore[reportArgumentType]
        return counting.statements, counting.rows


async def offenders(pool: Pool) -> list[str]:
    """The checks that `verify` fails."""
    return [check.name async for check in verify(pool, 10, NOW) if check.offenders]


async def grown(pool: Pool, events: list[Event]) -> None:
    for start in range(0, len(events), 500):
        await apply(pool, *events[start : start + 500])


@pytest.mark.parametrize("shift", [-200, 400])
async def test_an_order_reads_no_others(tiers_pool: Pool, shift: float):
    await grown(tiers_pool, [purchase(f"{number}", "0.30", day(-number * 0.3)) for number in range(2_500)])
    statements, rows = await cost(tiers_pool, purchase("new", "0.30", day(shift)))
    assert (statements, rows) == (3, 0)


@pytest.mark.parametrize("total", ["5000.00", "5.00"])
@pytest.mark.parametrize("step", [1, -1])
async def test_a_refund_reads_few_others(tiers_pool: Pool, total: str, step: int):
    await apply(tiers_pool, purchase("o", total))
    await grown(
        tiers_pool,
        [refund("o", f"r{number}", "0.01", day(1) + timedelta(seconds=number * step)) for number in range(2_000)],
    )
    for late in (day(2), day(1) + timedelta(seconds=100.5 * step), day(0.5)):
        statements, rows = await cost(tiers_pool, refund("o", f"late {late}", "0.01", late))
        assert statements < 8
        assert rows < 150
    assert await offenders(tiers_pool) == []


@pytest.mark.deep
@pytest.mark.parametrize("is_plenty", [True, False])
async def test_ten_thousand_refunds_of_one_order_the_newest_first(tiers_pool: Pool, *, is_plenty: bool):
    await apply(tiers_pool, purchase("o", "500.00" if is_plenty else "5.00"))
    await grown(
        tiers_pool, [refund("o", f"r{number}", "0.01", day(1) - timedelta(seconds=number)) for number in range(10_000)]
    )
    statements, rows = await cost(tiers_pool, refund("o", "late", "0.01", day(0.1)))
    assert statements < 8
    assert rows < 150
    async with tiers_pool.acquire() as connection:
        [sums] = await metrics.load_answers(connection, [("ann", Request(None, None, None))])
    assert sums == {("spend", "USD"): 3_999_900 if is_plenty else 0, ("orders", ""): int(is_plenty)}
    assert await offenders(tiers_pool) == []


async def test_refunds_by_line_and_by_share_read_no_others_while_there_is_plenty(tiers_pool: Pool):
    await apply(tiers_pool, purchase("o", "60.00", lines=(("a", "30.00"), ("b", "30.00"))))
    await grown(
        tiers_pool,
        [
            refund("o", f"r{number}", "0.01", day(9) - timedelta(seconds=number), lines=(("a", "0.01"),) * (number % 2))
            for number in range(1_500)
        ],
    )
    assert (await cost(tiers_pool, refund("o", "late", "0.01", day(1))))[1] < 60
    assert await offenders(tiers_pool) == []
    # Now a line runs short, and all have to be read.
    await apply(tiers_pool, refund("o", "last", "25.00", day(2), lines=(("a", "25.00"),)))
    assert await offenders(tiers_pool) == []


@pytest.mark.parametrize("step", [1, -1])
async def test_a_reversal_reads_no_others(tiers_pool: Pool, step: int):
    await apply(tiers_pool, points("t", 50_000))
    await grown(
        tiers_pool, [points(f"r{n}", 7, day(1) + timedelta(seconds=n * step), verb="reversed") for n in range(2_000)]
    )
    for late in (day(2), day(1) + timedelta(seconds=100.5 * step), day(-1)):
        statements, rows = await cost(tiers_pool, points(f"late {late}", 7, late, verb="reversed"))
        assert statements < 6
        assert rows < 3
    assert await offenders(tiers_pool) == []


async def test_a_withdrawal_reads_no_other_reviews(tiers_pool: Pool):
    await grown(tiers_pool, [review(f"{number}", day(number / 10)) for number in range(2_000)])
    assert await cost(tiers_pool, withdrawal("7", day(300))) == (3, 1)
    assert await cost(tiers_pool, review("new", day(3))) == (3, 0)


async def test_each_statement_takes_the_index_whose_order_it_asks_for(tiers_pool: Pool):
    """The planner's choice where most customers have little and one has much."""
    await tiers_pool.execute("""
        INSERT INTO taken SELECT 'c' || n, '2026-01-01Z', '2026-01-02Z', 'spend', 'USD', -1, 1, 'order/1'
        FROM generate_series(1, 20000) AS n;
        INSERT INTO taken SELECT 'ann', '2026-01-01Z'::timestamptz + n * interval '1 hour',
               '2026-01-01Z'::timestamptz + n * interval '2 hours', 'spend', 'USD', -1, 1, 'order/1'
        FROM generate_series(1, 5000) AS n;
        INSERT INTO purchase SELECT 'c' || n, '1', '/s', '2026-01-01Z', 'USD', 5, NULL, '{}', NULL, NULL
        FROM generate_series(1, 20000) AS n;
        ANALYZE
    """)
    for statement, arguments, index in (
        (metrics.SUMS_SQL, (["ann"], [day(0)], [day(1)], [day(1)], [False], []), "taken_earned"),
        (metrics.CHANGES_SQL, (["ann"], [day(0)], 2_001), "taken_at"),
    ):
        rows = await tiers_pool.fetch(f"EXPLAIN (COSTS OFF) {statement}", *arguments)
        plan = "\n".join(row[0] for row in rows)
        assert f"using {index} on taken" in plan, plan
        assert "using purchase_earned on purchase" in plan, plan
