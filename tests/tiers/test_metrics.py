"""Sums by day in time zones with odd midnights, exact fractions, and changes from an instant on."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from time import process_time
from zoneinfo import ZoneInfo

import pytest

from services.tiers.rules.metrics import Request
from services.tiers.rules.program.calendar import Calendar
from services.tiers.rules.program.compiled import Period
from services.tiers.store import metrics
from services.tiers.store.metrics import Loaded
from shared.postgres.pool import Pool
from tests.support.counting import Counting
from tests.tiers.applied import apply
from tests.tiers.shop import activity, day, points, purchase, refund, review, withdrawal


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "before", "after", "first"),
    [
        ("Asia/Riyadh", ["2026-03-01 20:59:59"], ["2026-03-01 21:00"], date(2026, 3, 2)),
        # 00:00 is skipped: 31 March begins at 01:00.
        ("Asia/Beirut", ["2024-03-30 21:59:59"], ["2024-03-30 22:00"], date(2024, 3, 31)),
        # 00:00 comes twice: the day begins with the first.
        ("America/Havana", ["2024-11-03 03:59"], ["2024-11-03 04:00", "2024-11-03 05:30"], date(2024, 11, 3)),
        # At 00:01 the clocks went back to 23:01: a day that has begun does not end again.
        ("America/St_Johns", ["2007-11-04 02:29"], ["2007-11-04 02:30", "2007-11-04 02:45"], date(2007, 11, 4)),
    ],
)
async def test_days_begin_with_their_first_instant(
    tiers_pool: Pool, zone: str, before: Sequence[str], after: Sequence[str], first: date
):
    await apply(tiers_pool, *(review(time.replace(":", ""), at(time)) for time in (*before, *after)))
    since = at(before[0]) - timedelta(days=40)
    async with tiers_pool.acquire() as connection:
        [answer] = await metrics.load_answers(connection, [("ann", Request(since, None, at("2030-01-01 00:00"), zone))])
    assert answer == {
        first - timedelta(days=1): {("reviews", ""): len(before)},
        first: {("reviews", ""): len(after)},
    }


async def test_requests_take_a_statement_and_two_for_each_zone_of_requests_by_day(tiers_pool: Pool):
    await apply(tiers_pool, *(purchase("1", "2.50", customer_id=f"c{number}") for number in range(50)))
    asked = [(f"c{number}", Request(None, None, day(1))) for number in range(50)]
    by_day = [("c1", Request(day(-9), None, day(1), zone)) for zone in ("UTC", "UTC", "Asia/Riyadh")]
    async with tiers_pool.acquire() as connection:
        counting = Counting(connection)
        answers = await metrics.load_answers(counting, asked)  # pyright: ignore[reportArgumentType]
        assert counting.statements == 1
        assert answers == [{("spend", "USD"): 25_000, ("orders", ""): 1}] * 50
        answers = await metrics.load_answers(counting, [*asked, *by_day])  # pyright: ignore[reportArgumentType]
        assert counting.statements == 5
        assert answers[50:] == [{date(2026, 3, 1): answers[0]}] * 3
        assert await metrics.load_answers(connection, []) == []


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Etc/GMT+12"])
async def test_days_from_one_end_of_the_calendar_to_the_other_cost_no_more(tiers_pool: Pool, zone: str):
    last = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    times = [datetime(1, 1, 1, tzinfo=UTC), day(0), last - timedelta(days=9)]
    await apply(tiers_pool, *(review(str(number), time) for number, time in enumerate(times)))
    began = process_time()
    async with tiers_pool.acquire() as connection:
        [answer] = await metrics.load_answers(connection, [("ann", Request(None, None, last, zone))])
    assert process_time() - began < 0.5
    calendar = Calendar(ZoneInfo(zone), Period("rolling_days", 1))
    assert answer == {calendar.day(time): {("reviews", ""): 1} for time in times}


async def test_sums_are_exact(tiers_pool: Pool):
    """A refund by share of what a refund by line left: thirds, which add up to nothing in the end."""
    lines = [("a", "10.00"), ("b", "10.00"), ("c", "10.00")]
    await apply(tiers_pool, purchase("1", "30.00", lines=lines))
    parts = [
        refund("1", "r", "0.01", day(1)),
        refund("1", "s", "5.00", day(2), lines=[("a", "5.00")]),
        refund("1", "t", "0.01", day(3)),
        refund("1", "u", "9.9966", day(4), lines=[("b", "9.9966")]),
        refund("1", "v", "99.00", day(5)),
    ]
    await apply(tiers_pool, *parts)
    async with tiers_pool.acquire() as connection:
        known = [Request(None, None, day(number + 0.5)) for number in range(6)]
        answers = await metrics.load_answers(connection, [("ann", request) for request in known])
    assert [dict(answer.items())["spend", "USD"] for answer in answers][:4] == [  # pyright: ignore[reportArgumentType]
        *(300_000, 299_900, 249_900, 249_800),
    ]
    assert answers[5] == {("spend", "USD"): 0, ("orders", ""): 0}
    assert await tiers_pool.fetchval("SELECT bool_or(divisor > 1) FROM taken")


class TestChanges:
    async def load(self, pool: Pool, since: float | None, limit: int | None = None) -> Loaded:
        async with pool.acquire() as connection, connection.transaction():
            wanted = {"ann": None if since is None else day(since), "nobody": None}
            loaded = await metrics.load_changes(connection, wanted, limit)
        assert loaded["nobody"] == Loaded([], None)
        return loaded["ann"]

    async def live(self, pool: Pool) -> None:
        await apply(
            pool,
            *(purchase(f"{number}", "1.00", day(number)) for number in range(5)),
            *(activity(f"{number}", day(number), customer_id="bob") for number in range(9)),
            refund("0", "r", "1.00", day(2)),
            review("1", day(1)),
            withdrawal("1", day(3)),
            points("t", 5, day(2)),
            points("u", 1, day(4), verb="reversed"),
        )

    async def test_they_begin_with_an_instant_and_come_in_order(self, tiers_pool: Pool):
        await self.live(tiers_pool)
        every, until = await self.load(tiers_pool, None)
        assert until is None
        assert [change.at for change in every] == sorted(change.at for change in every)
        assert len(every) == 10 + 2 + 2 + 2
        since = await self.load(tiers_pool, 2)
        assert since == Loaded([change for change in every if change.at >= day(2)], None)
        assert [change.metric for change in (await self.load(tiers_pool, 4.5)).changes] == []

    @pytest.mark.parametrize("limit", [1, 2, 3, 4])
    async def test_a_limit_says_from_where_on_there_are_more(self, tiers_pool: Pool, limit: int):
        await self.live(tiers_pool)
        every, _ = await self.load(tiers_pool, None)
        some, until = await self.load(tiers_pool, None, limit)
        assert until is not None
        before = [change for change in some if change.at < until]
        assert sorted(before) == sorted(change for change in every if change.at < until)
        assert until <= day(limit)

    async def test_a_limit_that_suffices(self, tiers_pool: Pool):
        await self.live(tiers_pool)
        assert (await self.load(tiers_pool, None, 5)) == await self.load(tiers_pool, None)
