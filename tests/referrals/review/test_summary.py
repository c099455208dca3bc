"""The summary: what was recorded in the last 30 days."""

from datetime import timedelta

import httpx

from shared.postgres.pool import Pool
from tests.points.asking import at as clock
from tests.referrals.conftest import ADA, Key, apply_to
from tests.referrals.review.conftest import flagged
from tests.referrals.shop import START, bought, refunded, signed_up

EMPTY = dict.fromkeys(("clicks", "sign_ups", "qualified", "flagged", "approved", "rejected", "voided", "expired"), 0)


async def test_nothing_happened(client: httpx.AsyncClient, key: Key):
    answer = await client.get("/v1/referrals/summary", headers=key("read"))
    assert answer.json() == {**EMPTY, "signals": []}


async def test_what_happened_of_late(client: httpx.AsyncClient, queue: Pool, key: Key):
    await apply_to(queue, [refunded("hal", "o1", "r1", 6), signed_up("ada", ADA), signed_up("jan", ADA)])
    await queue.execute(
        "INSERT INTO referral_click (code, day, shard, clicks) VALUES ($1, $2, 0, 4), ($1, $2, 1, 3), ($1, $3, 0, 100)",
        ADA,
        START.date(),
        (START - timedelta(days=30)).date(),
    )
    with clock(START):
        found = (await client.get("/v1/referrals/summary", headers=key("marketing"))).json()
    signals = found.pop("signals")
    assert found == {
        **EMPTY,
        "clicks": 7,
        "sign_ups": 6,
        "qualified": 4,
        "flagged": 3,
        "rejected": 2,
    }
    assert [(signal["id"], signal["count"]) for signal in signals] == [("already_bought", 3), ("self", 1)]
    assert signals[1]["words"] == "The friend used their own code."
    with clock(START + timedelta(days=30)):
        again = (await client.get("/v1/referrals/summary", headers=key("read"))).json()
    assert again["sign_ups"] == 6  # recorded at START, which is within the 30 days
    with clock(START + timedelta(days=30, microseconds=1)):
        assert (await client.get("/v1/referrals/summary", headers=key("read"))).json() == {**EMPTY, "signals": []}


async def test_a_referral_that_is_stopped_twice_counts_once(client: httpx.AsyncClient, queue: Pool, key: Key):
    await apply_to(queue, [*flagged("kim"), bought("kim", "o2", 7)])
    await queue.execute(
        """INSERT INTO referral_step (referral_id, at, recorded_at, state, reason, actor)
           SELECT referral_id, $1, $1, 'rejected', 'fraud', 'system' FROM referral WHERE friend_id = 'kim'""",
        START,
    )
    with clock(START):
        [signal] = (await client.get("/v1/referrals/summary", headers=key("read"))).json()["signals"]
    assert (signal["id"], signal["count"]) == ("already_bought", 4)
