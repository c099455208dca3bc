"""The sweep: what falls due is recorded once, by its own instant, whoever sweeps and whatever is killed."""

import asyncio
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest

from services.tiers.handlers import day as sweeping
from services.tiers.store import at_risk, customers
from shared.postgres.pool import Pool
from tests.tiers.applied import apply, published
from tests.tiers.given import publish, replace_first
from tests.tiers.oracles.written import MEMBER, program, spend, tier
from tests.tiers.shop import NOON, day, purchase

PERIOD = program(at_risk_days=[7, 2], grace_days=3)
END = datetime.fromisoformat("2026-03-12T00:00:00Z")


@pytest.fixture
async def pool(tiers_pool: Pool) -> Pool:
    """A database judged by ten days, three days of grace, and warnings 7 and 2 days before the end."""
    await replace_first(tiers_pool, PERIOD)
    return tiers_pool


async def told(pool: Pool, verb: str | None = None) -> list[dict[str, Any]]:
    events = await published(pool)
    return [event for event in events if verb is None or event["type"] == f"loyalty.tier.{verb}.v1"]


async def test_each_warning_is_told_at_its_moment(pool: Pool):
    await apply(pool, purchase("1", "320.00", NOON), now=NOON)
    [promoted] = await told(pool)
    assert await sweeping.run(pool, END - timedelta(days=7, seconds=1)) == Counter()
    assert (await sweeping.run(pool, END - timedelta(days=7)))["at risk"] == 1
    assert await sweeping.run(pool, END - timedelta(days=6)) == Counter()
    await apply(pool, purchase("2", "250.00", day(7)), now=day(7))
    assert (await sweeping.run(pool, END - timedelta(days=2)))["at risk"] == 1
    first, second = await told(pool, "at_risk")
    assert first["time"] == "2026-03-05T00:00:00Z"
    assert first["causationid"] == promoted["id"]
    assert first["correlationid"] == promoted["correlationid"]
    assert first["data"] == {
        "customer_id": "ann",
        "program_version": 1,
        "from": "gold",
        "to": "silver",
        "reason": "period_end",
        "effective_at": "2026-03-15T00:00:00Z",
        "valid_until": "2026-03-12T00:00:00Z",
        "points_multiplier": "1.5",
        "timeline": [],
        "needs": [{"metric": "spend", "missing": "300.00"}],
    }
    assert second["time"] == "2026-03-10T00:00:00Z"
    assert second["data"]["needs"] == [{"metric": "spend", "missing": "50.00"}]


async def test_of_several_moments_only_the_nearest_is_told(pool: Pool):
    await apply(pool, purchase("1", "320.00", NOON), now=NOON)
    await sweeping.run(pool, END - timedelta(days=1))
    assert [event["time"] for event in await told(pool, "at_risk")] == ["2026-03-10T00:00:00Z"]
    rows = await pool.fetch("SELECT days, told_at FROM at_risk ORDER BY days")
    assert [(row["days"], row["told_at"] is not None) for row in rows] == [(2, True), (7, False)]


async def test_who_is_kept_is_not_warned_and_a_past_end_is_not_warned_of(pool: Pool):
    await apply(pool, purchase("1", "320.00", NOON), purchase("2", "300.00", day(2)), now=day(2))
    await apply(pool, purchase("3", "320.00", NOON, customer_id="bob"), now=day(2))
    await sweeping.run(pool, END - timedelta(days=7))
    assert [event["data"]["customer_id"] for event in await told(pool, "at_risk")] == ["bob"]
    await sweeping.run(pool, END)
    assert len(await told(pool, "at_risk")) == 1


async def test_what_falls_due_has_its_own_instant_and_its_cause(pool: Pool):
    await apply(pool, purchase("1", "320.00", NOON), now=NOON)
    counts = await sweeping.run(pool, END + timedelta(days=40))
    assert counts == {"demoted": 2, "customers": 1}
    promoted, first, second = await told(pool)
    assert [event["time"] for event in (first, second)] == ["2026-03-15T00:00:00Z", "2026-03-25T00:00:00Z"]
    assert [event["data"]["reason"] for event in (first, second)] == ["grace_end", "grace_end"]
    assert (first["causationid"], second["causationid"]) == (promoted["id"], first["id"])
    assert {event["correlationid"] for event in (promoted, first, second)} == {promoted["correlationid"]}
    assert await pool.fetchval("SELECT due_at FROM customer") is None
    assert await sweeping.run(pool, END + timedelta(days=40)) == Counter()


async def test_a_new_end_is_warned_of_again(pool: Pool):
    await apply(pool, purchase("1", "320.00", NOON), purchase("2", "300.00", day(2)), now=day(2))
    for days in range(3, 25):
        await sweeping.run(pool, day(days))
    ends = [event["data"]["valid_until"] for event in await told(pool, "at_risk")]
    assert ends == ["2026-03-22T00:00:00Z"] * 2
    assert [event["type"] for event in await told(pool) if "retained" in event["type"]]


async def test_a_new_version_is_applied_on_the_way(pool: Pool):
    await apply(pool, purchase("1", "120.00", NOON), now=NOON)
    lower = program(MEMBER, tier("silver", spend("50")), tier("gold", spend("110")), at_risk_days=[1])
    await publish(pool, (day(3), lower))
    await sweeping.run(pool, END)
    kinds = [(event["type"].split(".")[2], event["data"]["reason"]) for event in await told(pool)]
    assert kinds[:2] == [("promoted", "spend"), ("promoted", "program")]


async def fill(pool: Pool, count: int) -> None:
    await apply(
        pool, *(purchase("1", "320.00", NOON, customer_id=f"c{number:03}") for number in range(count)), now=NOON
    )


async def test_two_sweeps_at_once_tell_everything_once(pool: Pool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sweeping, "CUSTOMERS", 7)
    await fill(pool, 60)
    for moment in (END - timedelta(days=7), END, END + timedelta(days=40)):
        await asyncio.gather(sweeping.run(pool, moment), sweeping.run(pool, moment))
    per_customer = Counter((event["data"]["customer_id"], event["type"]) for event in await told(pool))
    assert len(per_customer) == 60 * 3
    assert Counter(per_customer.values()) == {1: 120, 2: 60}


async def test_a_sweep_that_is_cut_off_loses_and_doubles_nothing(pool: Pool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sweeping, "CUSTOMERS", 7)
    await fill(pool, 40)
    warn, calls = at_risk.add, 0

    async def cut_off(*arguments: Any) -> None:
        nonlocal calls
        calls += 1
        await warn(*arguments)
        if calls == 3:
            raise ConnectionResetError

    monkeypatch.setattr(at_risk, "add", cut_off)
    with pytest.raises(ExceptionGroup):
        await sweeping.run(pool, END - timedelta(days=7))
    assert 0 < len(await told(pool, "at_risk")) < 40
    await sweeping.run(pool, END - timedelta(days=7))
    assert Counter(event["data"]["customer_id"] for event in await told(pool, "at_risk")).most_common(1)[0][1] == 1
    assert len(await told(pool, "at_risk")) == 40


async def test_a_broken_customer_is_left_alone(pool: Pool):
    await fill(pool, 5)
    await pool.execute("""UPDATE customer SET state = '{"standing": {}}' WHERE customer_id = 'c003'""")
    counts = await sweeping.run(pool, END + timedelta(days=4))
    assert (counts["customers"], counts[sweeping.LEFT], counts["demoted"]) == (4, 1, 4)
    assert await pool.fetchval("SELECT tier FROM customer WHERE customer_id = 'c003'") == "gold"


async def test_a_sweep_does_not_wait_for_a_locked_customer(pool: Pool):
    await fill(pool, 3)
    async with pool.acquire() as connection, connection.transaction():
        await customers.lock(connection, ["c001"])
        assert (await sweeping.sweep(pool, END + timedelta(days=4)))["customers"] == 2
    assert (await sweeping.sweep(pool, END + timedelta(days=4)))["customers"] == 1


async def test_marked_customers_are_judged_first(pool: Pool):
    await fill(pool, 1)
    await pool.execute("UPDATE customer SET rejudge_from = '2026-03-01Z'")
    assert (await sweeping.run(pool, END + timedelta(days=4)))["demoted"] == 0
    assert [event["type"] for event in await told(pool)][-1] == "loyalty.tier.demoted.v1"
