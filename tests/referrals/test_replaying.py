"""Replays: what the signals of a draft would have done about the sign-ups of the past."""

import asyncio
import random
import sys
from collections import Counter
from typing import Any

import pytest

from services.referrals.handlers import replaying
from services.referrals.handlers.events import handle
from services.referrals.rules.program.signals import SIGNALS
from services.referrals.store import replays
from shared.contracts.envelope import Event
from shared.postgres import slices
from shared.postgres.pool import Connection, Pool, open_pool
from tests.referrals import past
from tests.referrals.conftest import ADA, BEN, give_codes
from tests.referrals.evidence.told import KEY, referral_of, registered, signed_up, store, updated
from tests.referrals.past import SignUp, replayed
from tests.referrals.shop import at, bought
from tests.support import postgres

NOW = at(24)
BOUGHT = {"id": "already_bought", "action": "block"}
FLAG_BOUGHT = {"id": "already_bought", "action": "flag", "weight": 10}
BLOCKED = [{"id": "already_bought", "action": "block", "weight": 0, "at": "2026-03-01T12:00:00Z"}]
FLAGGED = [{"id": "already_bought", "action": "flag", "weight": 0, "at": "2026-03-01T12:00:00Z"}]


@pytest.fixture
async def pool(referrals_pool: Pool) -> Pool:
    return referrals_pool


def changes(result: Any) -> dict[str, tuple[str, str]]:
    """What each referral was and would be, by its id."""
    return {entry["referral_id"]: (entry["was"], entry["would"]) for entry in result["changed"]}


async def test_each_result_is_compared_with_what_became_of_the_sign_up(pool: Pool):
    past_ = [
        SignUp("fay"),
        SignUp("paid", hours=1, state="approved", order=("25.00", "USD"), has_bought=True),
        SignUp("void", hours=2, state="voided", reason="refunded", order=("25.00", "USD"), has_bought=True),
        SignUp("held", hours=3, state="flagged", order=("25.00", "USD"), signals=FLAGGED, was_flagged=True),
        SignUp("open", hours=4, signals=FLAGGED),
        SignUp("gone", hours=5, state="rejected", reason="fraud", signals=BLOCKED, has_bought=True),
        SignUp("free", hours=6, state="rejected", reason="fraud", signals=BLOCKED),
        SignUp("judged", hours=7, state="rejected", reason="decision", order=("25.00", "USD"), was_flagged=True),
    ]
    await past.store_all(pool, past_)
    result = await replayed(pool, BOUGHT, now=NOW)
    assert (result["sign_ups"], result["blocked"], result["flagged"], result["passed"]) == (8, 3, 0, 5)
    assert changes(result) == {
        str(referral_of(friend, "ADA")): change
        for friend, change in {
            "paid": ("passed", "blocked"),
            "void": ("passed", "blocked"),
            "held": ("flagged", "passed"),
            "open": ("flagged", "passed"),
            "free": ("blocked", "passed"),
            "judged": ("flagged", "passed"),
        }.items()
    }
    assert result["changed"][0]["referral_id"] == str(referral_of("judged", "ADA")), "the newest first"
    assert result["changed_total"] == 6
    assert result["points_saved"] == 700
    assert result["signals"] == [{"id": "already_bought", "count": 3}]
    assert result["not_replayed"] == []


async def test_only_what_people_had_rejected_by_then_suspends_an_advocate(pool: Pool):
    decided: dict[str, Any] = {"state": "rejected", "reason": "decision", "order": ("25.00", "USD")}
    await past.store_all(pool, [SignUp("fay"), SignUp("gus", hours=1, **decided), SignUp("hal", hours=2)])
    result = await replayed(pool, {"id": "advocate_suspended", "action": "block", "threshold": 1}, now=NOW)
    assert changes(result) == {str(referral_of("hal", "ADA")): ("passed", "blocked")}


@pytest.mark.parametrize(
    "weights, expected",
    [((30, 19), "passed"), ((30, 20), "flagged"), ((49, 50), "flagged"), ((50, 50), "blocked")],
)
async def test_scores_add_up(pool: Pool, weights: tuple[int, int], expected: str):
    paid = SignUp("fay", state="approved", order=("25.00", "USD"), has_bought=True, was_referred=True)
    await past.store_all(pool, [paid])
    signals = [
        {"id": id_, "action": "score", "weight": weight}
        for id_, weight in zip(("already_bought", "already_referred"), weights, strict=True)
    ]
    result = await replayed(pool, *signals, now=NOW)
    assert result[expected] == 1
    assert result["points_saved"] == (700 if expected == "blocked" else 0)


async def test_self_and_who_stands_are_blocked_whatever_the_draft_says(pool: Pool):
    rejected: dict[str, Any] = {"state": "rejected", "reason": "fraud"}
    past_ = [
        SignUp("ada", **rejected),
        SignUp("fay", hours=1),
        SignUp("fay", "ben", hours=2, was_referred=True, **rejected),
        SignUp("zoe", hours=3, state="rejected", reason="decision", order=("25.00", "USD")),
        SignUp("zoe", "ben", hours=4, was_referred=True, **rejected),
    ]
    await past.store_all(pool, past_)
    result = await replayed(pool, now=NOW)
    assert Counter({entry["id"]: entry["count"] for entry in result["signals"]}) == {"self": 1, "already_referred": 1}
    assert changes(result) == {str(referral_of("zoe", "BEN")): ("blocked", "passed")}


async def test_the_order_counts_as_the_sign_ups_version_has_it(pool: Pool):
    orders = {"near": "21.00", "far": "21.01"}
    await past.store_all(
        pool, [SignUp(friend, state="approved", order=(total, "USD")) for friend, total in orders.items()]
    )
    qualifies = {"amount_at_least": "900.00", "within_days": 1}
    result = await replayed(pool, {"id": "threshold_order", "action": "block"}, now=NOW, qualifies=qualifies)
    assert changes(result) == {str(referral_of("near", "ADA")): ("passed", "blocked")}


async def test_a_ring_is_closed_by_the_last_of_its_sign_ups(pool: Pool):
    ring = [SignUp("ben", "ada"), SignUp("cyd", "ben", hours=1), SignUp("ada", "cyd", hours=2)]
    await past.store_all(pool, ring)
    result = await replayed(pool, {"id": "circle", "action": "block"}, now=NOW)
    assert changes(result) == {str(ring[-1].id): ("passed", "blocked")}


async def test_each_sign_up_is_judged_by_what_was_told_by_then(pool: Pool):
    device = {"device_id": "d"}
    await store(pool, signed_up("early", **device))
    await store(pool, registered("ada", **device))
    await store(pool, signed_up("late", 1, **device), signed_up("other", 1), updated("other", 1, **device))
    await past.store_all(pool, [SignUp(friend, mark=None) for friend in ("early", "late", "other")])
    await past.store_all(pool, [SignUp("before evidence", mark=None)])
    await store(pool, updated("before evidence", 2, **device))
    result = await replayed(pool, {"id": "same_device", "action": "block"}, now=NOW)
    assert changes(result) == {str(referral_of("late", "ADA")): ("passed", "blocked")}


async def test_what_evidence_cannot_answer_is_named(pool: Pool):
    signals = [{"id": id_, "action": "flag"} for id_ in ("same_ip", "blocklist", "already_bought")]
    cidrs = ["203.0.113.0/28", "203.0.0.0/8", "2a00:1450:1:1:5::/80", "2a00::/48"]
    with_key = await replayed(pool, *signals, now=NOW, blocklist={"cidrs": cidrs})
    without = await replayed(pool, *signals, now=NOW, key=None, blocklist={"cidrs": cidrs})
    assert with_key["not_replayed"] == [
        "blocklist: 2a00:1450:1:1:5::/80 counts as 2a00:1450:1:1::/64: evidence has IPv6 addresses by their /64",
    ]
    assert without["not_replayed"] == [
        f"{id_}: no evidence is stored without WAFA_REFERRALS_EVIDENCE_KEY" for id_ in ("blocklist", "same_ip")
    ]


async def test_the_days_end_now_and_both_ends_count(pool: Pool):
    hours = {"old": -24.001, "first": -24.0, "last": 24.0, "ahead": 24.001}
    await past.store_all(pool, [SignUp(friend, hours=hour, has_bought=True) for friend, hour in hours.items()])
    result = await replayed(pool, BOUGHT, now=NOW, days=2)
    assert set(changes(result)) == {str(referral_of(friend, "ADA")) for friend in ("first", "last")}


async def test_without_sign_ups_there_is_a_result_too(pool: Pool):
    result = await replayed(pool, now=NOW)
    assert (result["sign_ups"], result["changed"], result["signals"]) == (0, [], [])


def history(chance: random.Random) -> list[Event]:
    """What some customers tell, their sign-ups, and orders that are too small to qualify, in the order of time."""
    people = ["ada", "ben", *(f"f{number}" for number in range(8))]
    events: list[Event] = []
    for step in range(60):
        customer, hours = chance.choice(people), step / 4
        traces = {
            "device_id": f"d{chance.randrange(6)}",
            "ip": f"203.0.113.{chance.randrange(4)}",
            "email": f"somebody{chance.randrange(20)}@example.org",
        }
        traces = {name: value for name, value in traces.items() if chance.random() < 0.5}
        match chance.randrange(4):
            case 0:
                events.append(updated(customer, hours, **traces))
            case 1:
                events.append(bought(customer, f"o{step}", hours, "5.00"))
            case _:
                events.append(signed_up(customer, hours, chance.choice([ADA, BEN]), **traces))
    return events


@pytest.mark.parametrize("seed", range(4))
async def test_the_version_in_force_replayed_changes_nothing(pool: Pool, seed: int):
    await give_codes(pool)
    chance = random.Random(seed)
    signals = [
        *[{"id": id_, "action": "score", "weight": 30} for id_ in ("same_device", "same_ip", "similar_email")],
        *[
            {"id": id_, "action": "score", "weight": 30, "threshold": 3}
            for id_ in ("ip_velocity", "advocate_velocity_day")
        ],
        *[{"id": id_, "action": "block"} for id_ in ("already_bought", "already_referred", "circle")],
    ]
    published = await past.draft(pool, *signals, flag_at=30, block_at=60)
    await past.publish(pool, published, at(-1))
    for event in history(chance):
        async with pool.acquire() as connection, connection.transaction():
            await handle(connection, [event], at(20), KEY)
    result = await replayed(pool, *signals, now=NOW, flag_at=30, block_at=60)
    assert min(result["blocked"], result["flagged"], result["passed"]) > 0
    assert changes(result) == {}


TABLES_SQL = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"


async def test_nothing_else_is_written(pool: Pool):
    await past.store_all(pool, [SignUp("fay", has_bought=True)])
    drafted = await past.draft(pool, BOUGHT)

    async def content() -> dict[str, Any]:
        tables = [row["tablename"] for row in await pool.fetch(TABLES_SQL)]
        return {table: await pool.fetch(f"SELECT * FROM {table}") for table in tables if table != "replay"}

    before = await content()
    await past.start(pool, drafted, NOW)
    await replaying.run_replays(pool, NOW, KEY)
    assert await content() == before


@pytest.fixture
def small_slices(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Slices of two sign-ups; returns the numbers of those that are done."""
    monkeypatch.setattr(replaying, "SLICE", 2)
    done: list[int] = []
    judge_slice = replaying.judge_slice

    async def counted(trial: Any, connection: Connection, part: slices.Slice) -> Any:
        done.append(part.number)
        await asyncio.sleep(0.01)
        return await judge_slice(trial, connection, part)

    monkeypatch.setattr(replaying, "judge_slice", counted)
    return done


def crowd(count: int) -> list[SignUp]:
    """Sign-ups of which some share an instant."""
    return [SignUp(f"f{number}", hours=number // 5, has_bought=number % 3 == 0) for number in range(count)]


async def test_two_workers_share_a_replay_and_do_no_slice_twice(pool: Pool, small_slices: list[int]):
    await past.store_all(pool, crowd(19))
    started = await past.start(pool, await past.draft(pool, BOUGHT), NOW)
    await asyncio.gather(*(replaying.run_replays(pool, NOW, KEY) for _ in range(2)))
    assert sorted(small_slices) == list(range(1, 11))
    result = (await past.find(pool, started)).result
    assert result is not None
    assert (result["sign_ups"], result["blocked"]) == (19, 7)
    assert len(changes(result)) == 7


async def test_a_draft_that_changes_stops_its_replay(
    pool: Pool, small_slices: list[int], monkeypatch: pytest.MonkeyPatch
):
    await past.store_all(pool, crowd(19))
    drafted = await past.draft(pool, BOUGHT)
    started = await past.start(pool, drafted, NOW)
    finish = slices.finish

    async def finish_and_change(connection: Connection, run_id: Any, number: int, outcome: Any) -> None:
        await finish(connection, run_id, number, outcome)
        if number == 3:
            await past.rewrite(pool, drafted.version)

    monkeypatch.setattr(slices, "finish", finish_and_change)
    await replaying.run_replays(pool, NOW, KEY)
    found = await past.find(pool, started)
    assert (found.state, found.failure, found.result) == ("failed", replaying.CHANGED, None)
    assert len(small_slices) < 10
    assert await pool.fetchval("SELECT count(*) FROM slice") == 0


async def test_a_draft_that_changes_afterwards_voids_its_replay(pool: Pool):
    drafted = await past.draft(pool, BOUGHT)
    started = await past.start(pool, drafted, NOW)
    await replaying.run_replays(pool, NOW, KEY)
    assert (await past.find(pool, started)).state == "done"
    await past.rewrite(pool, drafted.version)
    found = await past.find(pool, started)
    assert (found.state, found.failure, found.result) == ("failed", replaying.CHANGED, None)


async def test_a_draft_that_is_published_stops_its_replay_and_keeps_a_result(pool: Pool):
    drafted = await past.draft(pool, BOUGHT)
    done, stopped = await past.start(pool, drafted, NOW), None
    await replaying.run_replays(pool, NOW, KEY)
    stopped = await past.start(pool, drafted, NOW)
    await past.publish(pool, drafted, NOW)
    await replaying.run_replays(pool, NOW, KEY)
    assert (await past.find(pool, done)).state == "done"
    assert (await past.find(pool, stopped)).failure == replaying.PUBLISHED


async def test_broken_code_fails_one_replay(pool: Pool, monkeypatch: pytest.MonkeyPatch):
    async def broken(*_: Any) -> Any:
        raise ZeroDivisionError

    started = await past.start(pool, await past.draft(pool, BOUGHT), NOW)
    with monkeypatch.context() as patch:
        patch.setattr(replaying, "judge_slice", broken)
        await replaying.run_replays(pool, NOW, KEY)
    found = await past.find(pool, started)
    assert (found.state, found.result) == ("failed", None)
    assert "ZeroDivision" not in str(found.failure)


async def test_old_replays_are_forgotten(pool: Pool):
    drafted = await past.draft(pool, BOUGHT)
    kept, gone = await past.start(pool, drafted, NOW), await past.start(pool, drafted, NOW - replays.KEPT_FOR)
    await replaying.run_replays(pool, NOW, KEY)
    running = await past.start(pool, drafted, NOW - replays.KEPT_FOR)
    await replays.forget(pool, at(25))
    found = [await replaying.find(pool, replay.id) for replay in (kept, gone, running)]
    assert [replay and replay.state for replay in found] == ["done", None, "running"]


async def test_a_replay_survives_its_worker(postgres_url: str):
    url = await postgres.make_database(postgres_url, "referrals")
    async with await open_pool(url, application="wafa-test") as pool:
        await past.store_all(pool, crowd(60))
        drafted = await past.draft(pool, BOUGHT)
        started = await past.start(pool, drafted, NOW)
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.referrals.slow_replay", url)
        async with asyncio.timeout(30):
            while await slices.progress(pool, started.id) < 0.1:  # noqa: ASYNC110 only the database knows
                await asyncio.sleep(0.01)
        process.kill()
        await process.wait()
        done = await slices.progress(pool, started.id)
        assert 0.1 <= done < 0.6
        assert (await past.find(pool, started)).state == "running"
        await replaying.run_replays(pool, NOW, KEY)
        again = await past.start(pool, drafted, NOW)
        await replaying.run_replays(pool, NOW, KEY)
        result = (await past.find(pool, started)).result
        assert result is not None
        assert (result["sign_ups"], result["blocked"]) == (60, 20)
        assert result == (await past.find(pool, again)).result


async def test_a_slice_is_a_few_statements_by_indexes(pool: Pool):
    assert len(SIGNALS) == 22
    await past.store_all(pool, crowd(4))
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL enable_seqscan = off")
        plans = [
            await connection.fetch(f"EXPLAIN {replays.BOUNDS_SQL}", at(0), NOW, 2),
            await connection.fetch(f"EXPLAIN {replays.LOAD_SQL}", at(0), 0, NOW, 2**63 - 1),
        ]
    for plan in plans:
        text = "\n".join(row[0] for row in plan)
        assert "Seq Scan" not in text
        assert "referral_signed_up_at" in text
