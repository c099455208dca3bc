"""The inbox remembers applied events for 90 days."""

from datetime import timedelta

from shared.messaging import inbox
from shared.postgres.pool import Pool
from tests.messaging.log import NOW, event, purchase


async def test_new_events_are_claimed_in_order(platform_pool: Pool):
    events = [event(purchase(item)) for item in "dacb"]
    async with platform_pool.acquire() as connection:
        first = await inbox.claim(connection, events[:2])
        second = await inbox.claim(connection, events)
        assert await inbox.claim(connection, []) == inbox.Claimed([], [], 0)
    assert (first.fresh, first.repeats, first.applied) == (events[:2], [], 0)
    assert (second.fresh, second.repeats, second.applied) == (events[2:], [], 2)


async def test_repeats_within_one_claim_are_returned_separately(platform_pool: Pool):
    a, again, applied = event(purchase("a")), event(purchase("a")), event(purchase("k"))
    async with platform_pool.acquire() as connection:
        await inbox.claim(connection, [applied])
        claimed = await inbox.claim(connection, [a, applied, again, event(purchase("k"))])
    assert (claimed.fresh, claimed.repeats, claimed.applied) == ([a], [again], 2)


async def test_customer_source_and_id_identify_an_event(platform_pool: Pool):
    first = purchase("a", "c1")
    events = [event(first), event(purchase("a", "c2")), event(first | {"source": "/other"}), event(first | {"id": "b"})]
    assert len({inbox.digest(each) for each in events}) == 4


async def test_a_released_event_can_be_claimed_again(platform_pool: Pool):
    released = event(purchase("a"))
    async with platform_pool.acquire() as connection:
        await inbox.claim(connection, [released])
        assert await inbox.release(connection, [released]) == {inbox.digest(released)}
        assert await inbox.release(connection, []) == set()
        assert (await inbox.claim(connection, [released])).fresh == [released]


async def test_digests_are_deleted_after_90_days(platform_pool: Pool):
    async with platform_pool.acquire() as connection:
        await inbox.claim(connection, [event(purchase(item)) for item in "abc"])
    for digest, days in zip(await platform_pool.fetch("SELECT digest FROM inbox"), (89, 90, 91), strict=True):
        day = (NOW - timedelta(days=days)).date()
        await platform_pool.execute("UPDATE inbox SET received_on = $2 WHERE digest = $1", digest[0], day)
    await inbox.forget(platform_pool, NOW)
    assert await platform_pool.fetchval("SELECT count(*) FROM inbox") == 2
