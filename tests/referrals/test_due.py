"""What falls due by time on a real database: holds, windows, late orders, refunds in every state, the sweep."""

import asyncio
import random
from collections import Counter
from datetime import datetime
from typing import Any

import pytest

from services.referrals.__main__ import DOOR
from services.referrals.handlers import due
from services.referrals.handlers.day import LEFT, sweep
from services.referrals.handlers.events import handle
from services.referrals.store import codes, referrals
from shared.contracts.envelope import Event
from shared.postgres.pool import Pool
from tests.referrals.conftest import ADA, BEN, apply_to, published, verbs
from tests.referrals.shop import START, at, bought, refunded, signed_up
from tests.referrals.versions import publish

HELD: dict[str, Any] = {"hold_days": 14}


def days(number: float) -> datetime:
    return at(number * 24)


async def state(pool: Pool, friend: str = "fay") -> tuple[str, str | None]:
    row = await pool.fetchrow(
        "SELECT state, reason FROM referral WHERE friend_id = $1 ORDER BY number DESC LIMIT 1", friend
    )
    assert row is not None
    return row["state"], row["reason"]


async def test_a_hold_ends_at_its_instant_and_its_event_has_that_time(pool: Pool):
    await publish(pool, **HELD)
    order = bought("fay", "o1", 24)
    await apply_to(pool, [signed_up("fay", ADA), order], days(1))
    assert dict(await sweep(pool, days(14.999), None)) == {}
    assert dict(await sweep(pool, days(40), None)) == {"approved": 1}
    approved = (await published(pool))[-1]
    assert approved["time"] == "2026-03-16T12:00:00Z"
    assert (approved["correlationid"], approved["causationid"]) == (order.id, order.id)
    assert dict(await sweep(pool, days(41), None)) == {}


async def test_an_order_from_before_the_sign_up_rejects_whether_it_arrives_before_the_window_ends_or_after(pool: Pool):
    await apply_to(pool, [signed_up("fay", ADA)], days(40))
    assert await state(pool) == ("expired", None)
    await apply_to(pool, [bought("fay", "before", -1)], days(41))
    assert await state(pool) == ("rejected", "fraud")
    await apply_to(pool, [bought("fay", "o1", 1)], days(42))
    assert await verbs(pool) == ["signed_up", "expired", "rejected"]


async def test_a_window_ends_after_its_last_instant_and_a_late_order_still_qualifies(pool: Pool):
    await apply_to(pool, [signed_up("fay", ADA)], days(1))
    assert dict(await sweep(pool, days(30), None)) == {}
    assert dict(await sweep(pool, days(30.001), None)) == {"expired": 1}
    assert (await published(pool))[-1]["time"] == "2026-03-31T12:00:00Z"
    await apply_to(pool, [bought("fay", "late", 721)], days(31))
    assert await state(pool) == ("expired", None)
    await apply_to(pool, [bought("fay", "o1", 720)], days(50))
    assert await verbs(pool) == ["signed_up", "expired", "qualified", "approved"]
    assert (await sweep(pool, days(90), None)) == Counter()


async def test_a_late_order_qualifies_nothing_beside_a_newer_sign_up(pool: Pool):
    await apply_to(pool, [signed_up("fay", ADA)], days(1))
    # What is over is expired before the second sign-up is judged.
    await apply_to(pool, [signed_up("fay", BEN, 31 * 24)], days(31))
    assert await verbs(pool) == ["signed_up", "expired", "signed_up"]
    await apply_to(pool, [bought("fay", "o1", 5)], days(32))
    # For the second one it is an order from before.
    assert await state(pool) == ("rejected", "fraud")
    await apply_to(pool, [bought("fay", "o2", 6)], days(33))
    assert (await verbs(pool))[-2:] == ["qualified", "approved"]
    assert await pool.fetchval("SELECT advocate_id FROM referral WHERE state = 'approved'") == "ada"


async def test_a_purchase_of_the_friend_settles_the_hold_before_a_refund_is_judged(pool: Pool):
    await publish(pool, **HELD)
    await apply_to(pool, [signed_up("fay", ADA), bought("fay", "o1", 24)], days(1))
    # The refund itself is of day 3, but it is handled on day 16, when the hold is over.
    await apply_to(pool, [refunded("fay", "o1", "r1", 72)], days(16))
    assert (await verbs(pool))[-2:] == ["approved", "voided"]
    assert (await published(pool))[-1]["time"] == "2026-03-04T12:00:00Z"


FLAGGING = [{"id": "already_bought", "action": "flag"}]
BEFORE = bought("fay", "o0", -5)
STATES: dict[str, tuple[list[Event], str]] = {
    "signed_up": ([signed_up("fay", ADA)], "signed_up"),
    "qualified": ([signed_up("fay", ADA), bought("fay", "o1", 24)], "rejected"),
    "flagged": ([BEFORE, signed_up("fay", ADA), bought("fay", "o1", 24)], "rejected"),
    "approved": ([signed_up("fay", ADA), bought("fay", "o1", 24)], "voided"),
    "rejected": ([signed_up("fay", ADA), bought("fay", "o1", 24), refunded("fay", "o1", "r0", 30)], "rejected"),
}


@pytest.mark.parametrize("name", STATES)
async def test_a_refund_in_each_state(pool: Pool, name: str):
    events, expected = STATES[name]
    await publish(pool, **HELD, signals=FLAGGING)
    await apply_to(pool, events, days(2))
    now = days(16) if name == "approved" else days(3)
    await sweep(pool, now, None)
    assert (await state(pool))[0] == name
    announced = len(await published(pool))
    # Exactly the amount is kept: nothing happens.
    await apply_to(pool, [refunded("fay", "o1", "r1", 50, "5.00")], now)
    assert (await state(pool))[0] == name
    await apply_to(pool, [refunded("fay", "o1", "r2", 60, "0.01")], now)
    assert (await state(pool))[0] == expected
    assert len(await published(pool)) == announced + (name != expected)
    await apply_to(pool, [refunded("fay", "o1", "r3", 70, "1.00"), bought("fay", "o2", 80)], now)
    assert len(await published(pool)) == announced + (name != expected) + (2 if name == "signed_up" else 0) - (
        name == "signed_up"
    )


async def test_the_nth_order_qualifies_in_the_order_of_their_times(pool: Pool):
    await publish(pool, qualifies={"nth_order": 3, "amount_at_least": "20.00", "within_days": 30})
    await apply_to(pool, [bought("fay", "o5", 50), signed_up("fay", ADA), bought("fay", "o9", 9, "19.99")])
    await apply_to(pool, [bought("fay", "o7", 7), refunded("fay", "o5", "r1", 60, "25.00")])
    assert await verbs(pool) == ["signed_up"]
    await apply_to(pool, [bought("fay", "o1", 1)])
    # The third by time is o5, of which nothing is kept.
    assert await verbs(pool) == ["signed_up", "qualified", "rejected"]
    assert (await published(pool))[-1]["data"] | {"referral_id": ""} == {
        "customer_id": "ada",
        "referral_id": "",
        "friend_id": "fay",
        "order_id": "o5",
        "reason": "refunded",
    }


async def test_rates_count_exactly(pool: Pool):
    await publish(pool, rates={"SAR": "0.2667"})
    await apply_to(pool, [signed_up("fay", ADA), bought("fay", "o1", 1, "74.99", currency="SAR")])
    await apply_to(pool, [bought("fay", "o2", 1, "75.00", currency="SAR")])
    assert await verbs(pool) == ["signed_up", "qualified", "approved"]
    await apply_to(
        pool, [bought("gil", "o1", 1, "74.99", currency="SAR"), bought("gil", "o2", 2, "90", currency="SAR")]
    )
    await apply_to(pool, [signed_up("gil", ADA)])
    assert (await published(pool))[-1]["data"]["order_id"] == "o2"
    await apply_to(pool, [refunded("gil", "o2", "r1", 3, "15.00", currency="SAR")])
    assert (await state(pool, "gil"))[0] == "approved"  # 75.00 are worth 20.0025
    await apply_to(pool, [refunded("gil", "o2", "r2", 3, "0.01", currency="SAR")])
    assert (await state(pool, "gil"))[0] == "voided"


async def test_milestones_are_paid_again_after_their_carrier_is_void_and_never_twice(pool: Pool):
    await publish(pool, milestones=[{"count": 3, "points": 1000}])
    friends = [f"f{number}" for number in range(6)]
    for friend in friends[:3]:
        await apply_to(pool, [signed_up(friend, ADA), bought(friend, "o1", 1)])
    await apply_to(pool, [refunded("f0", "o1", "r1", 2)])
    await apply_to(pool, [signed_up("f3", ADA), bought("f3", "o1", 3)])
    paid = [event["data"]["advocate_points"] for event in await published(pool) if "approved" in event["type"]]
    assert paid == [500, 500, 1500, 500]
    # The carrier is voided: it takes its milestone with it, and the next third one is paid it.
    await apply_to(pool, [refunded("f2", "o1", "r1", 4), signed_up("f4", ADA), bought("f4", "o1", 5)])
    events = [event["data"] for event in await published(pool)]
    assert [data["advocate_points"] for data in events if "advocate_points" in data][-2:] == [1500, 1500]
    assert await pool.fetchval("SELECT approved FROM advocate WHERE customer_id = 'ada'") == 3


async def test_those_due_at_one_sweep_are_paid_in_the_order_of_their_holds(pool: Pool):
    await publish(pool, **HELD, caps=[{"count": 1, "per": "ever", "scope": "advocate"}])
    for friend, hours in (("late", 30), ("first", 10), ("second", 20), ("tied", 10)):
        await apply_to(pool, [signed_up(friend, ADA), bought(friend, "o1", hours)], days(2))
    await sweep(pool, days(30), None)
    paid = [(event["data"]["friend_id"], event["data"]["advocate_points"], event["data"].get("reason"))
            for event in await published(pool) if "approved" in event["type"]]  # fmt: skip
    assert paid == [("first", 500, None), ("tied", 0, "cap"), ("second", 0, "cap"), ("late", 0, "cap")]


async def deliver(pool: Pool, events: list[Event], size: int, now: datetime) -> None:
    for start in range(0, len(events), size):
        await apply_to(pool, events[start : start + size], now)


@pytest.mark.parametrize("cap", [{"points": 4_950, "scope": "program"}, {"count": 7, "scope": "advocate"}])
async def test_caps_and_milestones_hold_under_concurrent_approvals_and_voids(pool: Pool, cap: dict[str, Any]):
    await publish(pool, **HELD, caps=[{**cap, "per": "month"}], milestones=[{"count": 4, "points": 1000}])
    friends = [f"f{number}" for number in range(24)]
    for place, friend in enumerate(friends):
        code = (ADA, BEN)[place % 2]
        await apply_to(pool, [signed_up(friend, code), bought(friend, "o1", place)], days(1))
    backs = [refunded(friend, "o1", "r1", 60) for friend in friends[::3]]
    again = [bought(friend, "o2", 61) for friend in friends]
    random.Random(3).shuffle(backs)
    await asyncio.gather(
        deliver(pool, backs, 2, days(20)),
        deliver(pool, again, 3, days(20)),
        sweep(pool, days(20), None),
        sweep(pool, days(20), None),
    )
    rows = await pool.fetch("SELECT advocate_id, advocate_points, friend_points, milestone_points, state FROM referral")
    assert {row["state"] for row in rows} == {"approved", "voided"}
    base = Counter[str]()
    for row in rows:
        base[row["advocate_id"]] += row["advocate_points"] - row["milestone_points"]
        base["all"] += row["advocate_points"] - row["milestone_points"] + row["friend_points"]
    if "points" in cap:
        assert base["all"] == 4_950
    else:
        assert base["ada"] == base["ben"] == 3_500
    for advocate in ("ada", "ben"):
        own = [row for row in rows if row["advocate_id"] == advocate]
        assert sum(row["milestone_points"] > 0 and row["state"] == "approved" for row in own) <= 1
        counted = await pool.fetchval("SELECT approved FROM advocate WHERE customer_id = $1", advocate)
        assert counted == sum(row["state"] == "approved" for row in own)
    announced = Counter((event["data"]["friend_id"], event["type"].split(".")[2]) for event in await published(pool))
    assert all(announced[friend, "approved"] == 1 for friend in friends)
    assert (
        sum(await pool.fetchrow("SELECT sum(points)::int FROM reward_bucket WHERE start = '-infinity'")) == base["all"]
    )


async def test_approvals_wait_for_each_other_where_the_program_has_a_cap(pool: Pool):
    await publish(pool, caps=[{"points": 900, "per": "day", "scope": "program"}])
    await apply_to(pool, [signed_up("fay", ADA), signed_up("gil", BEN)])
    async with pool.acquire() as connection:
        async with connection.transaction():
            await handle(connection, [bought("fay", "o1", 1)], START)
            other = asyncio.create_task(apply_to(pool, [bought("gil", "o1", 1)]))
            done, _ = await asyncio.wait({other}, timeout=0.3)
            assert not done
        await asyncio.wait_for(other, timeout=5)
    paid = "SELECT advocate_id, advocate_points, friend_points FROM referral ORDER BY advocate_id"
    assert await pool.fetch(paid) == [("ada", 500, 200), ("ben", 0, 200)]


async def test_a_read_waits_for_whoever_settles_the_same(pool: Pool):
    await publish(pool, **HELD)
    await apply_to(pool, [signed_up("fay", ADA), bought("fay", "o1", 1)])
    async with pool.acquire() as connection:
        async with connection.transaction():
            await handle(connection, [signed_up("gil", ADA, 400)], days(20))
            reading = asyncio.create_task(due.refresh(pool, ["ada"], days(20)))
            done, _ = await asyncio.wait({reading}, timeout=0.3)
            assert not done
        await asyncio.wait_for(reading, timeout=5)
    assert (await verbs(pool)).count("approved") == 1


async def test_friends_of_one_code_and_codes_of_one_friend_at_one_instant(pool: Pool):
    await publish(pool, **HELD)
    alike = [apply_to(pool, [signed_up(f"f{number}", ADA), bought(f"f{number}", "o1", 1)]) for number in range(6)]
    both = [apply_to(pool, [signed_up("fay", code), bought("fay", "o1", 1)]) for code in (ADA, BEN)]
    await asyncio.gather(*alike, *both)
    counted = Counter(await verbs(pool))
    assert counted == {"signed_up": 7, "qualified": 7, "rejected": 1}
    await asyncio.gather(*(sweep(pool, days(20), None) for _ in range(3)))
    assert (await verbs(pool)).count("approved") == 7


async def test_an_advocate_for_whom_it_fails_is_left_and_the_others_go_on(pool: Pool, monkeypatch: pytest.MonkeyPatch):
    await publish(pool, **HELD)
    for friend, code in (("fay", ADA), ("gil", BEN), ("hal", ADA)):
        await apply_to(pool, [signed_up(friend, code), bought(friend, "o1", 1)])
    whole = due.settle

    def breaking(referrals: Any, known: Any) -> Any:
        if any(referral.advocate_id == "ada" for referral in referrals):
            raise RuntimeError("broken")
        return whole(referrals, known)

    monkeypatch.setattr(due, "settle", breaking)
    counts = await sweep(pool, days(20), None)
    assert (counts["approved"], counts[LEFT]) == (1, 1)
    assert [(await state(pool, friend))[0] for friend in ("fay", "gil", "hal")] == [
        *("qualified", "approved", "qualified")
    ]


async def test_a_read_applies_what_is_due_and_costs_one_statement_otherwise(pool: Pool):
    await publish(pool, **HELD)
    await apply_to(pool, [signed_up("fay", ADA), bought("fay", "o1", 1)])
    await due.refresh(pool, ["ada", "ben"], days(10))
    assert await state(pool) == ("qualified", None)
    await asyncio.gather(*(due.refresh(pool, ["ada"], days(20)) for _ in range(3)))
    assert (await verbs(pool)).count("approved") == 1


async def test_more_than_one_chunk_is_swept(pool: Pool, monkeypatch: pytest.MonkeyPatch):
    async with pool.acquire() as connection:
        await codes.add_code(connection, "cyd", "23456789", START)
    monkeypatch.setattr(due, "AT_ONCE", 3)
    monkeypatch.setattr("services.referrals.handlers.day.AT_ONCE", 3)
    await apply_to(pool, [signed_up(f"f{number}", (ADA, BEN, "23456789")[number % 3]) for number in range(20)])
    assert dict(await sweep(pool, days(60), None)) == {"expired": 20}
    await apply_to(pool, [signed_up(f"g{number}", ADA) for number in range(10)])
    await due.refresh(pool, ["ada"], days(60))
    assert await pool.fetchval("SELECT count(*) FROM referral WHERE state = 'expired'") == 30


def test_the_day_is_a_command():
    assert "day" in {command.name for command in DOOR.commands}


async def test_statements_find_what_is_due_by_an_index(pool: Pool):
    asked: dict[str, tuple[Any, ...]] = {
        referrals.LOAD_AT_HAND_SQL: (["fay"], ["ada"], START, 3, [ADA]),
        referrals.LOAD_DUE_SQL: (["ada"], ["fay"], START, 9),
        referrals.DUE_ADVOCATES_SQL: (START, ["ben"], 9),
        referrals.LOAD_EARLIER_SQL: (["fay"], [ADA]),
        referrals.READ_SQL: ([],),
    }
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL enable_seqscan = off")
        for sql, arguments in asked.items():
            plan = "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {sql}", *arguments))
            assert "Seq Scan on referral" not in plan, plan
