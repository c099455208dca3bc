"""Two workers at once: whatever they touch of the same customers, each friend is rewarded once."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import asyncpg
import pytest

from services.referrals.handlers import locking
from services.referrals.handlers.events import handle
from services.referrals.handlers.locking import Sides
from services.referrals.store import codes
from shared.contracts.envelope import Event
from shared.postgres.pool import Connection, Pool
from tests.referrals.conftest import ADA, BEN, apply_to, published
from tests.referrals.shop import START, at, bought, refunded, signed_up
from tests.referrals.versions import publish

FRIENDS = 60


def _code(number: int) -> str:
    digits = "23456789"
    return "CDFGHJ" + digits[number // 8] + digits[number % 8]


async def _deliver(pool: Pool, batches: Sequence[Sequence[Event]]) -> int:
    """Handle batches one after the other, as a worker does; returns the number of deadlocks."""
    deadlocks = 0
    for batch in batches:
        while True:
            try:
                assert await apply_to(pool, batch) == []
            except asyncpg.DeadlockDetectedError:
                deadlocks += 1
            else:
                break
    return deadlocks


def _batches(events: Sequence[Event], size: int) -> list[Sequence[Event]]:
    return [events[start : start + size] for start in range(0, len(events), size)]


@pytest.mark.parametrize("seed", range(3))
async def test_sign_ups_orders_and_refunds_on_different_workers(pool: Pool, seed: int):
    # Each customer refers the next, so that all are both advocates and friends.
    async with pool.acquire() as connection:
        for number in range(FRIENDS):
            await codes.add_code(connection, f"c{number}", _code(number), START)
    friends = [(f"c{(number + 1) % FRIENDS}", _code(number)) for number in range(FRIENDS)]
    chance = random.Random(seed)
    sign_ups = [signed_up(friend, code) for friend, code in friends]
    orders = [bought(friend, "o1", 5) for friend, _ in friends]
    refunds = [refunded(friend, "o1", "r1", 9) for friend, _ in friends[::2]]
    for events in (sign_ups, orders, refunds):
        chance.shuffle(events)
    deadlocks = await asyncio.gather(
        _deliver(pool, _batches(sign_ups, 7)),
        _deliver(pool, _batches(orders, 11)),
        _deliver(pool, _batches(refunds, 5)),
    )
    announced = Counter((event["data"]["friend_id"], event["type"].split(".")[2]) for event in await published(pool))
    assert all(announced[friend, "signed_up"] == announced[friend, "qualified"] == 1 for friend, _ in friends)
    # A refund that waited for its order rejects the referral, a later one voids it.
    assert all(announced[friend, "voided"] + announced[friend, "rejected"] == 1 for friend, _ in friends[::2])
    assert all(announced[friend, "approved"] == announced[friend, "voided"] for friend, _ in friends[::2])
    assert all(announced[friend, "approved"] == 1 for friend, _ in friends[1::2])
    assert deadlocks == [0, 0, 0]


async def test_a_friend_who_signs_up_on_two_workers_is_referred_once(pool: Pool):
    events = [[signed_up("fay", "CDFGHJKM")], [signed_up("fay", "NPQRTVWX")], [bought("fay", "o1", 5)]]
    await asyncio.gather(*(_deliver(pool, [batch]) for batch in events))
    announced = Counter(event["type"].split(".")[2] for event in await published(pool))
    assert announced == {"signed_up": 1, "qualified": 1, "approved": 1, "rejected": 1}
    states = await pool.fetch("SELECT state, reason FROM referral ORDER BY state")
    assert states == [("approved", None), ("rejected", "fraud")]


async def test_events_of_an_advocate_wait_for_each_other(pool: Pool):
    # So ids of the outbox grow in the order of commits. Another advocate's events do not wait.
    async with pool.acquire() as connection:
        async with connection.transaction():
            await handle(connection, [signed_up("fay", "CDFGHJKM")], START)
            same = asyncio.create_task(apply_to(pool, [signed_up("gil", "CDFGHJKM")]))
            friend = asyncio.create_task(apply_to(pool, [bought("fay", "o1", 5)]))
            await asyncio.wait_for(apply_to(pool, [signed_up("hal", "NPQRTVWX")]), timeout=5)
            done, _ = await asyncio.wait({same, friend}, timeout=0.3)
            assert not done
        await asyncio.wait_for(asyncio.gather(same, friend), timeout=5)
    announced = [(event["data"]["friend_id"], event["type"].split(".")[2]) for event in await published(pool)]
    # The friend's order was handled after the sign-up that it waited for.
    assert announced.index(("fay", "signed_up")) < announced.index(("fay", "approved"))
    assert ("gil", "signed_up") in announced


BLOCKED_SQL = "SELECT cardinality(pg_blocking_pids($1)) > 0"


async def test_holds_that_end_before_a_cap_of_the_program_do_not_cross(pool: Pool, monkeypatch: pytest.MonkeyPatch):
    # Both approve a held referral of a version without a cap, and then one of a version with a cap, in a transaction.
    await publish(pool, hold_days=14)
    await apply_to(pool, [signed_up("fay", ADA), signed_up("gil", BEN), bought("fay", "o1", 5), bought("gil", "o1", 5)])
    await publish(pool, at(15 * 24), caps=[{"points": 10_000, "per": "ever", "scope": "program"}])
    settled, go, reread = asyncio.Semaphore(0), asyncio.Event(), locking.reread

    async def pause(connection: Connection, *known: Any) -> Sides:
        settled.release()
        await go.wait()
        return await reread(connection, *known)

    monkeypatch.setattr(locking, "reread", pause)
    async with pool.acquire() as first, pool.acquire() as second:

        async def work(connection: Connection, held: str, friend: str, code: str) -> None:
            async with connection.transaction():
                events = [bought(held, "o2", 481), signed_up(friend, code, 482), bought(friend, "o1", 483)]
                assert await handle(connection, events, at(21 * 24)) == []

        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            group.create_task(work(first, "fay", "hal", ADA))
            await settled.acquire()
            group.create_task(work(second, "gil", "ian", BEN))
            while settled.locked() and not await pool.fetchval(BLOCKED_SQL, second.get_server_pid()):  # noqa: ASYNC110 it can only be asked
                await asyncio.sleep(0.01)
            go.set()
    assert await pool.fetchval("SELECT count(*) FROM referral WHERE state = 'approved'") == 4
