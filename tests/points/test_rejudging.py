"""Revised timelines: only what they change is settled again, a bounded part at a time."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.points.handlers.resettling import resettle
from services.points.rules.books.tiers import Span, TierEntry, changed, revised, standing_before, united
from services.points.store import orders, rejudging, timelines
from shared.contracts.envelope import Event
from shared.postgres.pool import Pool
from tests.points.books import NOW, balances, check_books, deliver
from tests.points.shop import hour, purchase, refund, tier

_ENTRIES = st.lists(
    st.tuples(st.integers(0, 9), st.sampled_from(["1", "1.25", "1.5"])), max_size=5, unique_by=lambda entry: entry[0]
).map(lambda pairs: tuple(TierEntry(hour(at), f"tier {multiplier}", multiplier) for at, multiplier in sorted(pairs)))


@given(_ENTRIES, _ENTRIES)
def test_changed_spans_are_those_judged_differently(old: Sequence[TierEntry], new: Sequence[TierEntry]):
    spans = changed(old, new)
    for half_hours in range(-1, 24):
        at = hour(half_hours / 2)
        differs = standing_before(old, at) != standing_before(new, at)
        assert differs == any(span.after < at <= span.until for span in spans)
    assert all(before.until < after.after for before, after in pairwise(spans))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 4)), max_size=6))
def test_united_spans_are_the_same_time(drawn: Sequence[tuple[int, int]]):
    spans = [Span(hour(at), hour(at + length)) for at, length in drawn]
    merged = united(spans)
    for half_hours in range(28):
        at = hour(half_hours / 2)
        assert any(span.after < at <= span.until for span in spans) == any(
            span.after < at <= span.until for span in merged
        )
    assert all(before.until < after.after for before, after in pairwise(merged))


async def given_for(pool: Pool) -> list[int]:
    """The points of each order, in the order of time."""
    rows = await pool.fetch("SELECT given FROM purchase ORDER BY occurred_at, order_id")
    return [sum(row["given"].values()) for row in rows]


def bought(count: int, at: datetime | None = None) -> list[Event]:
    return [purchase(f"{number:03}", "100.00", at or hour(1 + number)) for number in range(count)]


async def test_a_tier_event_loads_only_the_orders_that_it_changes(points_pool: Pool, monkeypatch: pytest.MonkeyPatch):
    await deliver(points_pool, *bought(50), tier([(hour(0), "1.25")]))
    loaded: list[str] = []
    made = orders.orders_by_row

    def by_row(rows: Sequence[dict[str, str]]) -> object:
        loaded.extend(row["order_id"] for row in rows)
        return made(rows)

    monkeypatch.setattr(rejudging, "orders_by_row", by_row)
    await deliver(points_pool, tier([(hour(0), "1.25"), (hour(60), "1.5")]))
    assert loaded == []
    await deliver(points_pool, tier([(hour(0), "1.25"), (hour(10), "1.5"), (hour(12.5), "1.25")]))
    assert loaded == ["010", "011"]
    assert (await given_for(points_pool))[8:14] == [125, 125, 150, 150, 125, 125]
    await check_books(points_pool)


@pytest.fixture
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejudging, "MOST", 10)
    monkeypatch.setattr(rejudging, "_LEAST", 10)


@pytest.mark.usefixtures("few_at_once")
@pytest.mark.parametrize("at", [None, hour(5)], ids=["at different instants", "all at one instant"])
async def test_the_changes_of_a_new_timeline_are_settled_part_by_part(points_pool: Pool, at: datetime | None):
    await deliver(points_pool, *bought(45, at))
    await deliver(points_pool, tier([(hour(0), "1.25")]))
    assert sorted(await given_for(points_pool)) == [100] * 35 + [125] * 10
    assert await points_pool.fetchval("SELECT count(*) FROM resettling") == 1
    await check_books(points_pool)
    # The customer's next event settles more, and is judged by the new timeline.
    await deliver(points_pool, purchase("new", "100.00", hour(100)))
    assert sorted(await given_for(points_pool)) == [100] * 25 + [125] * 21
    # An order that was not settled yet is refunded at the tier from before; it is settled in its turn.
    await deliver(points_pool, refund("044", "r", "20.00", hour(200)))
    await resettle(points_pool, NOW)
    assert await points_pool.fetchval("SELECT count(*) FROM resettling") == 0
    assert (await balances(points_pool)).available == 45 * 125 + 100
    await check_books(points_pool)


@pytest.mark.usefixtures("few_at_once")
async def test_another_timeline_before_the_first_is_settled_leads_to_the_same_books(points_pool: Pool):
    await deliver(points_pool, *bought(45))
    await deliver(points_pool, tier([(hour(0), "1.25")]))
    await deliver(points_pool, tier([(hour(20.5), "1.5")], verb="corrected"))
    await deliver(points_pool, tier([(hour(0), "1.25"), (hour(30.5), "1")], verb="corrected"))
    await resettle(points_pool, NOW)
    assert await given_for(points_pool) == [125] * 30 + [100] * 15
    await check_books(points_pool)


async def test_only_the_relevant_entries_of_a_long_timeline_are_loaded(points_pool: Pool):
    entries = [(hour(number), "1.25" if number % 2 else "1") for number in range(60)]
    await deliver(points_pool, tier(entries))
    assert await points_pool.fetchval("SELECT count(*) FROM tier_entry") == 60
    at = hour(10.5)
    async with points_pool.acquire() as connection:
        loaded = await timelines.load(connection, ["ann"], lambda _: Span(at, at + timedelta(hours=2)))
    assert [entry.effective_at for entry in loaded["ann"]] == [hour(10), hour(11), hour(12)]
    await deliver(points_pool, purchase("1", "100.00", hour(11.5)), purchase("2", "100.00", hour(12.5)))
    assert await given_for(points_pool) == [125, 100]
    # Revised from the 50th entry on: the entries before stay.
    await deliver(points_pool, tier([(hour(50), "1.5")]))
    assert await points_pool.fetchval("SELECT count(*) FROM tier_entry") == 51
    await deliver(points_pool, purchase("3", "100.00", hour(70)))
    assert await given_for(points_pool) == [125, 100, 150]
    await check_books(points_pool)


@given(_ENTRIES, _ENTRIES, st.integers(0, 9))
def test_a_part_of_a_timeline_is_revised_as_the_whole_is(
    old: Sequence[TierEntry], new: Sequence[TierEntry], start: int
):
    later = [entry for entry in new if entry.effective_at >= hour(start)]
    before = [entry for entry in old if entry.effective_at < hour(start)][-1:]
    part = (*before, *(entry for entry in old if entry.effective_at >= hour(start)))
    new = revised(old, later, hour(start))
    assert changed(old, new) == changed(part, revised(part, later, hour(start)))
