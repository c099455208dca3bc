"""Customers with long histories are judged again without a lock, while events of theirs arrive."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from services.tiers.handlers import assigning, judging, rejudging
from services.tiers.handlers.assigning import Given
from services.tiers.handlers.opening import Call
from services.tiers.handlers.rejudging import rejudge
from services.tiers.handlers.verifying import verify
from services.tiers.store import customers, metrics, programs
from services.tiers.store import rejudging as store
from shared.contracts.envelope import Event
from shared.postgres.pool import Pool
from tests.tiers import what_if
from tests.tiers.applied import announced, apply, published, read_status, timeline
from tests.tiers.given import replace_first
from tests.tiers.programs import DEFAULT
from tests.tiers.shop import day, purchase, refund

NOW = day(60)
LATER = NOW + timedelta(minutes=2)

Meanwhile = Callable[[], Awaitable[object]]


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than two changes after a late one are a long history."""
    monkeypatch.setattr(judging, "MOST_INLINE", 2)


async def late(pool: Pool) -> None:
    """Ann's ten orders, the newest first: she is marked from the earliest on."""
    orders = [purchase(f"{number}", "60.00", day(number)) for number in range(10)]
    for order in reversed(orders):
        await apply(pool, order, now=NOW)
    assert await pool.fetchval("SELECT rejudge_from FROM customer") == day(0)


def meanwhile(monkeypatch: pytest.MonkeyPatch, happens: Meanwhile) -> None:
    """Let something happen once while a customer is judged without a lock."""
    run, begun = rejudging.run, [happens]

    async def run_later(connection: Any, readings: Any) -> Any:
        if readings and begun:
            await begun.pop()()
        return await run(connection, readings)

    monkeypatch.setattr(rejudging, "run", run_later)


async def marks(pool: Pool) -> list[datetime | None]:
    return [row[0] for row in await pool.fetch("SELECT rejudge_from FROM customer ORDER BY customer_id")]


async def offenders(pool: Pool, now: datetime = LATER) -> list[str]:
    """The checks that `verify` fails."""
    return [check.name async for check in verify(pool, 10, now) if check.offenders]


async def test_a_long_history_is_judged_once_and_told_once(tiers_pool: Pool):
    await late(tiers_pool)
    before = len(await published(tiers_pool))
    await rejudge(tiers_pool, NOW)
    assert await marks(tiers_pool) == [None]
    assert await timeline(tiers_pool) == [(day(8), "silver")]
    told = [announced(event) for event in (await published(tiers_pool))[before:]]
    assert [own[1:] for own in told] == [("member", "silver", [(day(8), "silver")])]
    assert await offenders(tiers_pool) == []


@pytest.mark.parametrize(
    ("event", "mark", "silver_at"),
    [
        (purchase("early", "100.00", day(-3)), day(-3), day(6)),
        (purchase("new", "1000.00", day(50)), day(50), day(8)),
        (refund("3", "r", "60.00", day(3.5)), day(3.5), day(9)),
    ],
)
async def test_what_arrives_meanwhile_does_not_wait_and_is_judged_next(
    tiers_pool: Pool, monkeypatch: pytest.MonkeyPatch, event: Event, mark: datetime, silver_at: datetime
):
    await late(tiers_pool)

    async def arrive() -> None:
        async with asyncio.timeout(5):
            assert await apply(tiers_pool, event, now=NOW) == []

    meanwhile(monkeypatch, arrive)
    async with tiers_pool.acquire() as connection, connection.transaction():
        marked = await customers.claim_marked(connection, NOW, 10)
        await store.begin(connection, marked, NOW + rejudging.LEASE)
    await rejudging.judge_long(tiers_pool, "ann", NOW)
    # The outcome is that of what was there before, and the mark that of what came.
    assert await marks(tiers_pool) == [mark]
    assert await timeline(tiers_pool) == [(day(8), "silver")]
    await rejudge(tiers_pool, LATER)
    assert await marks(tiers_pool) == [None]
    assert (await timeline(tiers_pool))[0] == (silver_at, "silver")
    assert await offenders(tiers_pool) == []


async def test_an_outcome_does_not_count_once_a_request_has_judged_the_customer(
    tiers_pool: Pool, monkeypatch: pytest.MonkeyPatch
):
    await late(tiers_pool)

    async def give() -> None:
        async with tiers_pool.acquire() as connection, connection.transaction():
            versions = await programs.load_all(connection)
            given = Given("gold", None, locked=False, note="n")
            await assigning.assign(connection, versions, Call("ann", "request", "api_key/support", NOW), given)

    meanwhile(monkeypatch, give)
    await rejudge(tiers_pool, NOW)
    assert await marks(tiers_pool) == [None]
    assert (await read_status(tiers_pool, "ann", LATER)).tier.id == "gold"
    assert await timeline(tiers_pool) == [(day(8), "silver"), (NOW, "gold")]
    assert await offenders(tiers_pool) == []


async def test_an_outcome_by_other_versions_does_not_count(tiers_pool: Pool, monkeypatch: pytest.MonkeyPatch):
    await late(tiers_pool)

    async def publish() -> None:
        lower = what_if.changed(DEFAULT, tiers=[DEFAULT["tiers"][0], *DEFAULT["tiers"][2:]], moves={"silver": "member"})
        drafted = await what_if.draft(tiers_pool, lower, NOW)
        await what_if.publish(tiers_pool, drafted.version, NOW, NOW)

    meanwhile(monkeypatch, publish)
    await rejudge(tiers_pool, NOW)
    assert await marks(tiers_pool) == [day(0)]
    await rejudge(tiers_pool, LATER)
    assert await marks(tiers_pool) == [None]
    assert await timeline(tiers_pool) == [(day(8), "silver"), (NOW, "member")]
    assert await offenders(tiers_pool) == []


async def test_after_a_killed_worker_another_begins_when_the_lease_is_over(
    tiers_pool: Pool, monkeypatch: pytest.MonkeyPatch
):
    await late(tiers_pool)

    async def be_killed() -> None:
        raise ConnectionError

    meanwhile(monkeypatch, be_killed)
    with pytest.raises(ConnectionError):
        await rejudge(tiers_pool, NOW)
    await rejudge(tiers_pool, NOW + timedelta(seconds=30))
    assert await marks(tiers_pool) == [day(0)]
    await rejudge(tiers_pool, NOW + timedelta(seconds=60))
    assert await marks(tiers_pool) == [None]
    assert await offenders(tiers_pool) == []


async def test_a_judging_whose_lease_was_taken_does_not_count(tiers_pool: Pool, monkeypatch: pytest.MonkeyPatch):
    await late(tiers_pool)

    async def be_overtaken() -> None:
        await rejudge(tiers_pool, LATER)
        assert await marks(tiers_pool) == [None]

    meanwhile(monkeypatch, be_overtaken)
    before = len(await published(tiers_pool))
    await rejudge(tiers_pool, NOW)
    assert len(await published(tiers_pool)) == before + 1
    assert await offenders(tiers_pool) == []


async def test_after_a_long_history_the_customer_rests_in_proportion(tiers_pool: Pool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rejudging, "_FREE", 0)
    monkeypatch.setattr(rejudging, "_REST", timedelta(seconds=1))
    await late(tiers_pool)
    await rejudge(tiers_pool, NOW)
    await apply(tiers_pool, purchase("late", "1.00", day(-1)), now=NOW)
    # Ten orders are twenty changes.
    await rejudge(tiers_pool, NOW + timedelta(seconds=19))
    assert await marks(tiers_pool) == [day(-1)]
    assert (await read_status(tiers_pool, "ann", LATER)).spend == 601
    await rejudge(tiers_pool, NOW + timedelta(seconds=20))
    assert await marks(tiers_pool) == [None]


async def test_others_have_a_turn_while_much_is_judged(tiers_pool: Pool, monkeypatch: pytest.MonkeyPatch):
    orders = [purchase(f"{number}", "0.01", day(number / 1000)) for number in range(3_500)]
    await apply(tiers_pool, *orders[1:], now=NOW)
    await apply(tiers_pool, orders[0], now=NOW)
    assert await marks(tiers_pool) == [day(0)]
    pause, paused = metrics.pause, [0]

    async def counted(connection: Any) -> None:
        paused[0] += 1
        await pause(connection)

    monkeypatch.setattr(metrics, "pause", counted)
    await rejudge(tiers_pool, NOW)
    assert await marks(tiers_pool) == [None]
    assert paused == [17]


async def test_refunds_of_one_batch_are_judged_by_sums_that_are_asked_for_once(
    tiers_pool: Pool, monkeypatch: pytest.MonkeyPatch
):
    await replace_first(tiers_pool, {**DEFAULT, "downgrade": {"to": "earned", "on_refund": "revoke"}})
    await apply(tiers_pool, purchase("1", "2000.00", day(0)), now=day(0))
    load, asked = metrics.load_answers, [0]

    async def counted(connection: Any, requests: Any) -> Any:
        asked[0] += len(requests)
        return await load(connection, requests)

    monkeypatch.setattr(metrics, "load_answers", counted)
    refunds = [refund("1", f"r{number}", "10.00", day(1 + number / 100)) for number in range(160)]
    await apply(tiers_pool, *refunds, now=day(5))
    # 51 refunds leave less than 1,500, and 151 less than 500.
    assert await timeline(tiers_pool) == [(day(0), "gold"), (day(1.5), "silver"), (day(2.5), "member")]
    assert asked[0] <= 3
    assert await offenders(tiers_pool, day(5)) == []
