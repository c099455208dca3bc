"""Published versions on a real PostgreSQL: everybody is judged by them, once, whoever is killed."""

import asyncio
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest

from services.tiers.handlers import applying
from services.tiers.handlers.announcing import announce
from services.tiers.handlers.applying import apply_versions
from services.tiers.handlers.day import run as run_day
from services.tiers.handlers.judging import judged_in_order
from services.tiers.handlers.rejudging import rejudge
from services.tiers.handlers.rounds import run
from services.tiers.handlers.standing import see
from services.tiers.rules.program.versions import Versions
from services.tiers.store import customers
from services.tiers.store.programs import Programs, load_all
from shared.contracts.values import format_instant
from shared.postgres import slices
from shared.postgres.pool import Connection, Pool
from tests.tiers import programs, what_if
from tests.tiers.applied import announced, apply, published
from tests.tiers.shop import day, purchase
from tests.tiers.test_simulating import LOWER, NOW, crowd, shop

LATER = NOW + timedelta(seconds=applying.SETTLED.total_seconds())
YEARLY = what_if.changed(programs.DEFAULT, downgrade={"to": "one_step"})
FULL = what_if.changed(LOWER, downgrade={"to": "earned"}, on_publish="full")


async def new_events(pool: Pool, before: int) -> list[dict[str, Any]]:
    return (await published(pool))[before:]


async def test_everybody_is_judged_by_the_version_and_who_is_moved_is_told(tiers_pool: Pool):
    await shop(tiers_pool)
    before = len(await published(tiers_pool))
    drafted = await what_if.draft(tiers_pool, LOWER, NOW)
    await what_if.publish_and_apply(tiers_pool, drafted.version, NOW, NOW)
    assert (await what_if.tiers(tiers_pool))["cid"] == "silver"
    (event,) = await new_events(tiers_pool, before)
    assert announced(event) == ("promoted", "member", "silver", [(NOW, "silver")])
    assert event["time"] == format_instant(NOW)
    assert event["causationid"] == event["correlationid"] == f"tier-program-{drafted.version}"
    assert (event["data"]["customer_id"], event["data"]["reason"]) == ("cid", "program")
    versions = await tiers_pool.fetch("SELECT DISTINCT program_version FROM customer WHERE tier IS NOT NULL")
    assert [row["program_version"] for row in versions] == [drafted.version]


async def test_a_version_waits_for_its_instant(tiers_pool: Pool):
    await shop(tiers_pool)
    drafted = await what_if.draft(tiers_pool, LOWER, NOW)
    await what_if.publish(tiers_pool, drafted.version, day(120), NOW)
    await apply_versions(tiers_pool, NOW)
    assert (await what_if.tiers(tiers_pool))["cid"] == "member"
    await apply_versions(tiers_pool, day(121))
    row = await tiers_pool.fetchrow("SELECT tier, since FROM customer WHERE customer_id = 'cid'")
    assert row is not None
    assert tuple(row) == ("silver", day(120))


async def test_whom_an_event_judges_after_the_day_by_hand_and_before_the_version_gets_it_again(tiers_pool: Pool):
    await shop(tiers_pool)
    drafted = await what_if.draft(tiers_pool, LOWER, NOW)
    await what_if.publish(tiers_pool, drafted.version, day(120), NOW)
    await run_day(tiers_pool, day(121))
    await apply(tiers_pool, purchase("late", "1.00", day(2), customer_id="cid"), now=NOW)
    assert (await what_if.tiers(tiers_pool))["cid"] == "member"
    await apply_versions(tiers_pool, day(122))
    assert (await what_if.tiers(tiers_pool))["cid"] == "silver"


async def test_who_was_judged_ahead_is_judged_through_a_version_that_came_in_between(tiers_pool: Pool):
    await shop(tiers_pool)
    at = NOW + timedelta(hours=1)
    await apply(tiers_pool, purchase("ahead", "1.00", NOW + timedelta(days=2), customer_id="cid"), now=NOW)
    drafted = await what_if.draft(tiers_pool, LOWER, NOW)
    await what_if.publish(tiers_pool, drafted.version, at, NOW)
    later = at + timedelta(hours=1)
    async with tiers_pool.acquire() as connection, connection.transaction():
        read = (await see(connection, await load_all(connection), "cid", later)).status.standing
    assert (read.tier, read.since) == ("silver", at)
    await apply(tiers_pool, purchase("late", "1.00", later, customer_id="cid"), now=later)
    row = await tiers_pool.fetchrow("SELECT tier, since FROM customer WHERE customer_id = 'cid'")
    assert row is not None
    assert tuple(row) == ("silver", at)


async def test_the_day_by_hand_applies_what_is_in_force_by_then(tiers_pool: Pool):
    await shop(tiers_pool)
    drafted = await what_if.draft(tiers_pool, LOWER, NOW)
    await what_if.publish(tiers_pool, drafted.version, day(120), NOW)
    await run_day(tiers_pool, day(119))
    assert (await what_if.tiers(tiers_pool))["cid"] == "member"
    await run_day(tiers_pool, day(121))
    assert (await what_if.tiers(tiers_pool))["cid"] == "silver"


async def test_what_is_retained_is_told_where_its_end_changes(tiers_pool: Pool):
    await shop(tiers_pool)
    before = len(await published(tiers_pool))
    drafted = await what_if.draft(tiers_pool, YEARLY, NOW)
    await what_if.publish_and_apply(tiers_pool, drafted.version, NOW, NOW)
    kinds = {event["data"]["customer_id"]: announced(event)[0] for event in await new_events(tiers_pool, before)}
    assert kinds == {"ann": "retained", "bob": "retained"}


async def test_whom_an_event_reaches_first_is_done_by_that(tiers_pool: Pool):
    await shop(tiers_pool)
    drafted = await what_if.draft(tiers_pool, LOWER, NOW)
    await what_if.publish(tiers_pool, drafted.version, day(120), NOW)
    before = len(await published(tiers_pool))
    await apply(tiers_pool, purchase("2", "1.00", day(121), customer_id="cid"), now=day(121))
    (event,) = await new_events(tiers_pool, before)
    assert (event["causationid"], event["time"]) == (f"tier-program-{drafted.version}", format_instant(day(120)))
    await apply_versions(tiers_pool, day(122))
    assert len(await new_events(tiers_pool, before)) == 1


async def test_whom_an_older_version_judged_after_the_instant_is_judged_again(tiers_pool: Pool):
    await shop(tiers_pool)
    drafted = await what_if.draft(tiers_pool, FULL, NOW)
    # A batch that began before the publication was committed: dan buys something, the version does not exist yet.
    await apply(tiers_pool, purchase("2", "130.00", NOW + timedelta(seconds=1), customer_id="dan"), now=LATER)
    assert (await what_if.tiers(tiers_pool))["dan"] == "silver"
    await what_if.publish_and_apply(tiers_pool, drafted.version, NOW, LATER)
    state = await tiers_pool.fetchrow("SELECT tier, program_version, valid_until FROM customer WHERE customer_id='dan'")
    assert state is not None
    assert (state["tier"], state["program_version"]) == ("silver", drafted.version)
    # By the new version, Silver has an end.
    assert state["valid_until"] is not None


async def test_whom_an_older_version_judged_without_anything_since_is_judged_again(tiers_pool: Pool):
    first = await what_if.draft(tiers_pool, YEARLY, day(0))
    await what_if.publish(tiers_pool, first.version, day(0), day(0))
    await apply(tiers_pool, purchase("1", "600.00", day(1)), now=day(1))
    end: Any = await tiers_pool.fetchval("SELECT valid_until FROM customer")
    # What falls due was swept by the old version, just before the new one was committed.
    async with tiers_pool.acquire() as connection, connection.transaction():
        versions = await load_all(connection)
        locked = await customers.lock(connection, ["ann"])
        judged = await run(connection, {"ann": judged_in_order(versions, locked["ann"], (), end)})
        await announce(connection, versions, judged, end)
    assert await what_if.tiers(tiers_pool) == {"ann": "member"}
    drafted = await what_if.draft(tiers_pool, programs.DEFAULT, end)
    await what_if.publish_and_apply(tiers_pool, drafted.version, end - timedelta(seconds=1), end)
    # Under the new version nobody falls: at its instant the tier has no end any more.
    assert await what_if.tiers(tiers_pool) == {"ann": "silver"}
    rows = await tiers_pool.fetch("SELECT effective_at, reason FROM timeline ORDER BY effective_at DESC LIMIT 1")
    assert [tuple(row) for row in rows] == [(end - timedelta(seconds=1), "program")]


async def test_customers_of_a_transaction_that_did_not_know_the_version_are_found_in_the_end(
    tiers_pool: Pool, monkeypatch: pytest.MonkeyPatch
):
    await shop(tiers_pool)
    async with tiers_pool.acquire() as connection:
        versions = await load_all(connection)
    drafted = await what_if.draft(tiers_pool, LOWER, NOW)
    await what_if.publish_and_apply(tiers_pool, drafted.version, NOW, NOW)

    async def load_old(_self: Programs, _connection: Connection) -> Versions:
        return versions

    with monkeypatch.context() as patch:
        patch.setattr(Programs, "load", load_old)
        await apply(tiers_pool, purchase("1", "450.00", day(3), customer_id="zoe"), now=NOW)
    assert (await what_if.tiers(tiers_pool))["zoe"] == "member"
    await apply_versions(tiers_pool, LATER - timedelta(seconds=1))
    assert await tiers_pool.fetchval("SELECT finished_at FROM publication") is None
    await apply_versions(tiers_pool, LATER)
    assert (await what_if.tiers(tiers_pool))["zoe"] == "silver"
    assert await tiers_pool.fetchval("SELECT finished_at FROM publication") == LATER
    assert await tiers_pool.fetchval("SELECT count(*) FROM slice") == 0


@pytest.mark.parametrize("documents", [(LOWER, FULL, programs.DEFAULT), (FULL, YEARLY), (YEARLY, LOWER)])
async def test_versions_one_after_the_other_judge_as_if_they_had_been_applied_one_by_one(
    tiers_pool: Pool, documents: tuple[Any, ...]
):
    await crowd(tiers_pool, 20)
    for number, document in enumerate(documents):
        drafted = await what_if.draft(tiers_pool, document, NOW)
        await what_if.publish(tiers_pool, drafted.version, day(110 + number), NOW)
    await apply_versions(tiers_pool, day(130))
    rows = await tiers_pool.fetch("SELECT customer_id, tier, valid_until, program_version FROM customer ORDER BY 1")
    assert {row["program_version"] for row in rows} == {len(documents) + 1}
    at_once = [tuple(row)[:3] for row in rows]
    # Again from nothing.
    await tiers_pool.execute("UPDATE customer SET rejudge_from = '0001-01-01Z'")
    await rejudge(tiers_pool, day(130))
    rows = await tiers_pool.fetch("SELECT customer_id, tier, valid_until FROM customer ORDER BY 1")
    assert [tuple(row) for row in rows] == at_once


async def test_a_publication_goes_on_where_it_was_killed_and_two_workers_share_it(
    tiers_pool: Pool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(applying, "SLICE", 2)
    await crowd(tiers_pool, 30)
    before = len(await published(tiers_pool))
    drafted = await what_if.draft(tiers_pool, FULL, NOW)
    await what_if.publish(tiers_pool, drafted.version, NOW, NOW)
    finish, left = slices.finish, [5]

    async def crash(connection: Connection, *arguments: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise ConnectionError("the worker was killed")
        await finish(connection, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(slices, "finish", crash)
        with pytest.raises(ConnectionError):
            await apply_versions(tiers_pool, NOW)
    some = Counter(event["data"]["customer_id"] for event in await new_events(tiers_pool, before))
    assert some
    await asyncio.gather(*(apply_versions(tiers_pool, NOW) for _ in range(3)))
    told = Counter(event["data"]["customer_id"] for event in await new_events(tiers_pool, before))
    assert set(told.values()) == {1}
    assert len(told) > len(some)
    versions = await tiers_pool.fetch("SELECT DISTINCT program_version FROM customer")
    assert [row["program_version"] for row in versions] == [drafted.version]


async def test_events_flow_beside_a_publication(tiers_pool: Pool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(applying, "SLICE", 2)
    await crowd(tiers_pool, 30)
    drafted = await what_if.draft(tiers_pool, FULL, NOW)
    await what_if.publish(tiers_pool, drafted.version, NOW, NOW)

    async def buy(number: int, now: datetime) -> None:
        names = [f"c{own:02}" for own in range(number, 30, 3)]
        at = now + timedelta(seconds=number)
        await apply(tiers_pool, *(purchase(f"n{number}", "70.00", at, customer_id=name) for name in names), now=at)

    now = NOW + timedelta(seconds=10)
    await asyncio.gather(apply_versions(tiers_pool, now), *(buy(number, NOW) for number in range(1, 4)))
    await rejudge(tiers_pool, now)
    rows = await tiers_pool.fetch("SELECT customer_id, tier, valid_until, program_version FROM customer ORDER BY 1")
    together = [tuple(row) for row in rows]
    await tiers_pool.execute("UPDATE customer SET rejudge_from = '0001-01-01Z'")
    await rejudge(tiers_pool, now)
    rows = await tiers_pool.fetch("SELECT customer_id, tier, valid_until, program_version FROM customer ORDER BY 1")
    assert [tuple(row) for row in rows] == together


async def test_a_customer_for_whom_it_fails_does_not_hold_up_the_others(tiers_pool: Pool):
    await shop(tiers_pool)
    await tiers_pool.execute("""UPDATE customer SET state = '{"broken": true}' WHERE customer_id = 'bob'""")
    drafted = await what_if.draft(tiers_pool, LOWER, NOW)
    await what_if.publish(tiers_pool, drafted.version, NOW, NOW)
    await apply_versions(tiers_pool, LATER)
    assert (await what_if.tiers(tiers_pool))["cid"] == "silver"
    assert await tiers_pool.fetchval("SELECT finished_at FROM publication") == LATER
