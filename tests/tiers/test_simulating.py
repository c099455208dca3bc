"""Simulations on a real PostgreSQL: what a draft would do to customers who bought something."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from services.tiers.handlers import publishing, simulating
from services.tiers.handlers.rejudging import rejudge
from services.tiers.handlers.simulating import simulate
from services.tiers.store import simulations, sums
from shared.postgres import slices
from shared.postgres.pool import Connection, Pool
from tests.support import postgres
from tests.tiers import programs, what_if
from tests.tiers.applied import apply
from tests.tiers.shop import day, purchase, refund

NOW = day(100)

LOWER = what_if.changed(
    programs.DEFAULT,
    tiers=[
        programs.DEFAULT["tiers"][0],
        {**programs.DEFAULT["tiers"][1], "enter": [[{"metric": "spend", "at_least": "400"}]]},
        {**programs.DEFAULT["tiers"][2], "enter": [[{"metric": "spend", "at_least": "1600"}]]},
    ],
)
"""Version 1 with a lower spend for Silver, and a higher one for Gold; nobody falls."""


async def shop(pool: Pool) -> None:
    """Spend by customer: ann 600, bob 1,550, cid 450, dan 380, eve 300 of which 200 were refunded; fay only asked."""
    spend = {"ann": "600.00", "bob": "1550.00", "cid": "450.00", "dan": "380.00", "eve": "300.00"}
    await apply(pool, *(purchase("1", total, day(1), customer_id=name) for name, total in spend.items()), now=NOW)
    await apply(pool, refund("1", "r", "200.00", day(2), customer_id="eve"), now=NOW)
    await apply(pool, refund("unknown", "r", "200.00", day(2), customer_id="fay"), now=NOW)


async def test_the_result_counts_everybody_of_whom_something_counted(tiers_pool: Pool):
    await shop(tiers_pool)
    _, result = await what_if.simulated(tiers_pool, LOWER, NOW, NOW)
    assert result == {
        "customers": 5,
        "tiers": [
            {"tier": "member", "before": 3, "after": 2},
            {"tier": "silver", "before": 1, "after": 2},
            {"tier": "gold", "before": 1, "after": 1},
        ],
        "moves": [{"from": "member", "to": "silver", "customers": 1}],
        "promoted": 1,
        "demoted": 0,
        "unchanged": 4,
        "points_cost": {"before": 0, "after": 0, "delta": 0},
        "near": [{"tier": "silver", "within_tenth": 1}, {"tier": "gold", "within_tenth": 0}],
    }


async def test_the_cost_is_that_of_the_multipliers_for_the_points_of_a_year(tiers_pool: Pool):
    await shop(tiers_pool)
    year_begins = (NOW - timedelta(days=364)).replace(hour=0)
    earned = [
        ("ann", "1", year_begins, 1003),
        ("ann", "2", year_begins - timedelta(microseconds=1), 1000),
        ("bob", "1", NOW, 99),
        ("bob", "2", NOW + timedelta(microseconds=1), 1000),
        ("cid", "1", day(1), 121),
        ("dan", "1", day(1), 1000),
    ]
    await tiers_pool.executemany(
        "INSERT INTO counted (customer_id, kind, key, earned_at, amount, digest) VALUES ($1, 'points', $2, $3, $4, 0)",
        earned,
    )
    await tiers_pool.execute(
        "INSERT INTO taken (customer_id, earned_at, at, metric, name, amount, divisor, about)"
        " VALUES ('cid', $1, $2, 'points', '', -20, 1, 'points/1')",
        day(1),
        day(2),
    )
    _, result = await what_if.simulated(tiers_pool, LOWER, NOW, NOW)
    # ann 1003 × 0.25 = 250, bob 99 × 0.5 = 49; cid comes into Silver: 101 × 0.25 = 25.
    assert result["points_cost"] == {"before": 299, "after": 324, "delta": 25}
    weekly = what_if.changed(LOWER, period={"kind": "rolling_days", "days": 7})
    _, result = await what_if.simulated(tiers_pool, weekly, NOW, NOW)
    assert result["points_cost"] == {"before": 299, "after": 299, "delta": 0}


async def test_it_lists_the_customers_and_says_why(tiers_pool: Pool):
    await shop(tiers_pool)
    drafted = await what_if.draft(tiers_pool, LOWER, NOW)
    simulation = await what_if.start(tiers_pool, drafted, NOW, NOW)
    await simulate(tiers_pool, NOW)
    assert await what_if.customers_of(tiers_pool, simulation) == {
        "ann": ("silver", "silver", "unchanged"),
        "bob": ("gold", "gold", "unchanged"),
        "cid": ("member", "silver", "program: silver needs spend 400.00; has 450.00"),
        "dan": ("member", "member", "unchanged"),
        "eve": ("member", "member", "unchanged"),
    }


async def test_a_full_version_says_what_is_missing_and_where_members_of_a_tier_go(tiers_pool: Pool):
    await shop(tiers_pool)
    silver, gold = LOWER["tiers"][1:]
    document = what_if.changed(
        LOWER,
        tiers=[LOWER["tiers"][0], {**silver, "id": "plus", "enter": [[{"metric": "spend", "at_least": "500"}]]}, gold],
        downgrade={"to": "earned"},
        on_publish="full",
        moves={"silver": "plus"},
    )
    drafted = await what_if.draft(tiers_pool, document, NOW)
    simulation = await what_if.start(tiers_pool, drafted, NOW, NOW)
    await simulate(tiers_pool, NOW)
    found = await what_if.customers_of(tiers_pool, simulation)
    assert found["ann"] == ("silver", "plus", "program: plus needs spend 500.00; has 600.00")
    assert found["bob"] == ("gold", "plus", "program: plus needs spend 500.00; has 1550.00")
    result: Any = (await what_if.find(tiers_pool, simulation)).result
    # From the second place to the second place nobody rises or falls.
    assert (result["promoted"], result["demoted"], result["unchanged"]) == (0, 1, 4)
    assert result["moves"] == [
        {"from": "silver", "to": "plus", "customers": 1},
        {"from": "gold", "to": "plus", "customers": 1},
    ]
    assert [tier["tier"] for tier in result["tiers"]] == ["member", "plus", "gold", "silver"]


async def test_a_later_instant_applies_what_falls_due_until_then(tiers_pool: Pool):
    await shop(tiers_pool)
    yearly = what_if.changed(programs.DEFAULT, downgrade={"to": "one_step"})
    drafted = await what_if.draft(tiers_pool, yearly, NOW)
    await what_if.publish_and_apply(tiers_pool, drafted.version, NOW, NOW)
    later = NOW + timedelta(days=400)
    _, result = await what_if.simulated(tiers_pool, yearly, later, NOW)
    # Both had a year from the publication on, and bought nothing.
    assert [(tier["before"], tier["after"]) for tier in result["tiers"]] == [(4, 4), (1, 1), (0, 0)]
    _, soon = await what_if.simulated(tiers_pool, yearly, NOW + timedelta(days=300), NOW)
    assert [(tier["before"], tier["after"]) for tier in soon["tiers"]] == [(3, 3), (1, 1), (1, 1)]


async def test_what_is_known_ahead_happens_by_its_instant_only(tiers_pool: Pool):
    await apply(tiers_pool, purchase("1", "100.00", day(1)), now=NOW)
    await apply(tiers_pool, purchase("2", "350.00", NOW + timedelta(hours=3)), now=NOW)
    await apply(tiers_pool, purchase("3", "999.00", NOW + timedelta(hours=3), customer_id="bob"), now=NOW)
    _, result = await what_if.simulated(tiers_pool, LOWER, NOW + timedelta(hours=1), NOW)
    assert (result["customers"], result["promoted"]) == (1, 0)
    _, result = await what_if.simulated(tiers_pool, LOWER, NOW + timedelta(hours=3), NOW)
    assert (result["customers"], result["promoted"]) == (2, 1)


async def test_customers_who_are_to_be_judged_again_are_predicted_by_all_that_is_known(tiers_pool: Pool):
    await shop(tiers_pool)
    # As a late event of a customer with a very long history leaves it: recorded, and judged by the job later.
    await tiers_pool.execute(
        "INSERT INTO purchase (customer_id, order_id, source, purchased_at, currency, total, folded)"
        " VALUES ('dan', '2', '/shop', $1, 'USD', 120, '{}')",
        day(0),
    )
    await tiers_pool.execute("UPDATE customer SET rejudge_from = $1 WHERE customer_id = 'dan'", day(0))
    drafted = await what_if.draft(tiers_pool, LOWER, NOW)
    simulation = await what_if.start(tiers_pool, drafted, NOW, NOW)
    await simulate(tiers_pool, NOW)
    assert (await what_if.customers_of(tiers_pool, simulation))["dan"] == ("silver", "silver", "unchanged")


async def test_a_change_of_the_draft_voids_its_simulations(tiers_pool: Pool):
    await shop(tiers_pool)
    drafted, _ = await what_if.simulated(tiers_pool, LOWER, NOW, NOW)
    running = await what_if.start(tiers_pool, drafted, NOW, NOW)
    async with tiers_pool.acquire() as connection:
        assert await publishing.is_simulated(connection, drafted)
        rewritten = await what_if.rewrite(tiers_pool, drafted.version, programs.DEFAULT)
        assert not await publishing.is_simulated(connection, rewritten)
    await simulate(tiers_pool, NOW)
    found = await what_if.find(tiers_pool, running)
    assert (found.state, found.failure) == ("failed", simulating.CHANGED)
    assert await tiers_pool.fetchval("SELECT count(*) FROM simulation WHERE state = 'running'") == 0


async def test_a_draft_that_changes_meanwhile_ends_the_simulation(tiers_pool: Pool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(simulating, "SLICE", 2)
    await shop(tiers_pool)
    drafted = await what_if.draft(tiers_pool, LOWER, NOW)
    simulation = await what_if.start(tiers_pool, drafted, NOW, NOW)
    finish = slices.finish

    async def finish_and_change(connection: Connection, *arguments: Any) -> None:
        await finish(connection, *arguments)
        await what_if.rewrite(tiers_pool, drafted.version, programs.DEFAULT)

    monkeypatch.setattr(slices, "finish", finish_and_change)
    await simulate(tiers_pool, NOW)
    assert (await what_if.find(tiers_pool, simulation)).state == "failed"
    await simulate(tiers_pool, NOW)
    assert await what_if.customers_of(tiers_pool, simulation) == {}
    assert await tiers_pool.fetchval("SELECT count(*) FROM slice") == 0


async def test_a_publication_meanwhile_ends_the_simulation(tiers_pool: Pool):
    await shop(tiers_pool)
    drafted = await what_if.draft(tiers_pool, LOWER, NOW)
    other = await what_if.draft(tiers_pool, programs.DEFAULT, NOW)
    own, overtaken = [await what_if.start(tiers_pool, version, day(130), NOW) for version in (drafted, other)]
    await what_if.publish(tiers_pool, drafted.version, day(120), day(110))
    await simulate(tiers_pool, NOW)
    assert (await what_if.find(tiers_pool, own)).failure == simulating.PUBLISHED
    assert (await what_if.find(tiers_pool, overtaken)).failure == simulating.OVERTAKEN


@pytest.fixture
def small_slices(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Slices of two customers; the numbers of those that were begun."""
    begun: list[int] = []
    predict = simulating.predict_slice

    async def counted(run: Any, asked: Any, connection: Connection, part: slices.Slice) -> Any:
        begun.append(part.number)
        await asyncio.sleep(0)
        return await predict(run, asked, connection, part)

    monkeypatch.setattr(simulating, "SLICE", 2)
    monkeypatch.setattr(simulating, "predict_slice", counted)
    return begun


async def crowd(pool: Pool, count: int) -> None:
    """Customers who spent 100, 200, …"""
    events = [
        purchase("1", f"{100 * number}.00", day(number), customer_id=f"c{number:02}") for number in range(1, count)
    ]
    await apply(pool, *events, now=NOW)


async def test_two_workers_share_a_simulation_and_do_no_slice_twice(tiers_pool: Pool, small_slices: list[int]):
    await crowd(tiers_pool, 20)
    drafted = await what_if.draft(tiers_pool, LOWER, NOW)
    simulation = await what_if.start(tiers_pool, drafted, NOW, NOW)
    await asyncio.gather(*(simulate(tiers_pool, NOW) for _ in range(3)))
    await simulate(tiers_pool, NOW)
    found: Any = (await what_if.find(tiers_pool, simulation)).result
    assert sorted(small_slices) == list(range(1, 11))
    assert found["customers"] == len(await what_if.customers_of(tiers_pool, simulation)) == 19
    assert found["moves"] == [{"from": "member", "to": "silver", "customers": 1}]


async def test_two_connections_are_enough(postgres_url: str, small_slices: list[int]):
    async with postgres.database(postgres_url, "tiers", max_size=2) as pool:
        await crowd(pool, 20)
        async with asyncio.timeout(20):
            await what_if.simulated(pool, LOWER, NOW, NOW)
            drafted = await what_if.draft(pool, LOWER, NOW)
            await what_if.publish_and_apply(pool, drafted.version, NOW, NOW)
    assert len(small_slices) == 10


async def test_a_simulation_goes_on_where_it_was_killed(
    tiers_pool: Pool, monkeypatch: pytest.MonkeyPatch, small_slices: list[int]
):
    await crowd(tiers_pool, 20)
    drafted = await what_if.draft(tiers_pool, LOWER, NOW)
    simulation = await what_if.start(tiers_pool, drafted, NOW, NOW)
    finish, left = slices.finish, [4]

    async def crash(connection: Connection, *arguments: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise ConnectionError("the worker was killed")
        await finish(connection, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(slices, "finish", crash)
        with pytest.raises(ConnectionError):
            await simulate(tiers_pool, NOW)
    assert await slices.progress(tiers_pool, simulation.id) == pytest.approx(0.4)
    assert (await what_if.find(tiers_pool, simulation)).state == "running"
    del small_slices[:]
    await simulate(tiers_pool, NOW)
    assert len(small_slices) == 6
    assert len(await what_if.customers_of(tiers_pool, simulation)) == 19
    assert (await what_if.find(tiers_pool, simulation)).state == "done"


async def test_an_error_of_the_program_fails_the_simulation_only(tiers_pool: Pool, monkeypatch: pytest.MonkeyPatch):
    await shop(tiers_pool)
    drafted = await what_if.draft(tiers_pool, LOWER, NOW)
    simulation = await what_if.start(tiers_pool, drafted, NOW, NOW)

    async def broken(*_: Any) -> None:
        raise LookupError("broken")

    monkeypatch.setattr(simulating, "predict_slice", broken)
    await simulate(tiers_pool, NOW)
    found = await what_if.find(tiers_pool, simulation)
    assert (found.state, found.result) == ("failed", None)


async def test_a_publication_in_this_very_moment_is_no_error(tiers_pool: Pool, monkeypatch: pytest.MonkeyPatch):
    await shop(tiers_pool)
    drafted, other = [await what_if.draft(tiers_pool, LOWER, NOW) for _ in range(2)]
    simulation = await what_if.start(tiers_pool, drafted, day(130), NOW)
    known_in = sums.known_in

    async def publish_first(connection: Connection, part: slices.Slice) -> Any:
        await what_if.publish_and_apply(tiers_pool, other.version, NOW, NOW)
        monkeypatch.setattr(sums, "known_in", known_in)
        async with tiers_pool.acquire() as later:
            return await known_in(later, part)

    monkeypatch.setattr(sums, "known_in", publish_first)
    await simulate(tiers_pool, NOW)
    assert (await what_if.find(tiers_pool, simulation)).failure == simulating.OVERTAKEN


async def test_a_simulation_waits_for_an_upgrade(tiers_pool: Pool):
    await shop(tiers_pool)
    await tiers_pool.execute("UPDATE customer SET carried = false, rejudge_from = '0001-01-01Z'")
    drafted = await what_if.draft(tiers_pool, LOWER, NOW)
    simulation = await what_if.start(tiers_pool, drafted, NOW, NOW)
    await simulate(tiers_pool, NOW)
    assert (await what_if.find(tiers_pool, simulation)).state == "running"
    await rejudge(tiers_pool, NOW)
    await simulate(tiers_pool, NOW)
    assert (await what_if.find(tiers_pool, simulation)).state == "done"


async def test_old_simulations_are_deleted(tiers_pool: Pool):
    await shop(tiers_pool)
    await what_if.simulated(tiers_pool, LOWER, NOW, NOW)
    await simulations.forget(tiers_pool, NOW + simulations.KEPT_FOR)
    assert await tiers_pool.fetchval("SELECT count(*) FROM simulation") == 1
    await simulations.forget(tiers_pool, NOW + simulations.KEPT_FOR + timedelta(seconds=1))
    for table in ("simulation", "slice", "simulation_customers"):
        assert await tiers_pool.fetchval(f"SELECT count(*) FROM {table}") == 0
