"""An erased customer's code refers nobody any more; what it brought goes on."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from msgspec import structs

from services.referrals.handlers.codes import CodeTakenError, choose, find_or_make, follow
from services.referrals.rules.codes.code import key_of
from services.referrals.store import codes
from shared.contracts.envelope import Event
from shared.messaging.erasure import Erasure
from shared.postgres.pool import Pool
from tests.contracts.records import envelope, read, structured
from tests.referrals.conftest import ADA, Apply
from tests.referrals.shop import START, bought, signed_up

WAITING_SQL = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


def erased(customer_id: str) -> Event:
    event = envelope("shop.customer.erased.v1", id=str(uuid4()), subject=..., data={"customer_id": customer_id})
    return structs.replace(read(structured(event)), time=datetime.now(UTC))


async def visit(pool: Pool, text: str) -> str | None:
    async with pool.acquire() as connection:
        return await follow(connection, text, START)


async def test_a_code_is_unknown_after_the_erasure_and_what_it_brought_goes_on(pool: Pool, apply: Apply):
    assert await visit(pool, ADA) == ADA
    assert await apply([signed_up("zoe", ADA)], [erased("ada")]) == []
    assert await visit(pool, ADA) is None
    (refusal,) = await apply([signed_up("yan", ADA)])
    assert refusal.reason == "unknown_code"
    assert await apply([bought("zoe", "order-1", 1)]) == []
    stands = "SELECT state, advocate_id, advocate_points FROM referral WHERE friend_id = 'zoe'"
    row = await pool.fetchrow(stands)
    assert row is not None
    assert tuple(row) == ("approved", "ada", 500)
    assert await pool.fetchval("SELECT sum(clicks) FROM referral_click WHERE code = $1", ADA) == 1


async def test_nobody_is_given_the_code_again_and_who_comes_back_gets_a_new_one(pool: Pool, apply: Apply):
    await apply([erased("ada")])
    async with pool.acquire() as connection:
        await codes.add_code(connection, "eve", ADA, START)
        assert await codes.find_code(connection, "eve") is None
        new = await find_or_make(connection, "ada", datetime.now(UTC) + timedelta(minutes=1))
    assert new != ADA
    await apply([signed_up("zoe", new)])
    assert await pool.fetchval("SELECT code FROM referral WHERE friend_id = 'zoe'") == new


async def test_of_a_chosen_code_a_hash_is_left_which_nobody_gets_again(pool: Pool, apply: Apply):
    async with pool.acquire() as connection:
        await choose(connection, "ada", "Ada-Love", START)
    await apply([signed_up("zoe", "adalove"), bought("zoe", "order-1", 1)])
    assert await visit(pool, "ADALOVE") == "ADALOVE"
    assert await codes.spelled(pool, [key_of("ADALOVE"), ADA]) == {key_of("ADALOVE"): "ADALOVE", ADA: ADA}
    await apply([erased("ada")])
    assert await visit(pool, "ADALOVE") is None
    left = await pool.fetch(
        "SELECT code FROM retired_code UNION SELECT code FROM referral UNION SELECT code FROM referral_click"
    )
    assert {row["code"] for row in left} == {ADA, key_of("ADALOVE")}
    assert await codes.spelled(pool, [key_of("ADALOVE")]) == {key_of("ADALOVE"): key_of("ADALOVE")}
    for customer in ("eve", "ada"):
        with pytest.raises(CodeTakenError):
            async with pool.acquire() as connection, connection.transaction():
                await choose(connection, customer, "ADALOVE", datetime.now(UTC))
    assert await pool.fetchval("SELECT count(*) FROM referral_code WHERE customer_id <> 'ben'") == 0


async def test_who_waits_for_the_end_of_an_erasure_does_not_get_the_code(pool: Pool):
    async with pool.acquire() as connection:
        await choose(connection, "ada", "ADALOVE", START)
    async with pool.acquire() as other, pool.acquire() as connection:
        erasing = other.transaction()
        await erasing.start()
        now = datetime.now(UTC)
        await codes.retire(other, [Erasure("ada", now, now, now)], 100)

        async def take() -> str:
            async with connection.transaction():
                return await choose(connection, "eve", "ADALOVE", now)

        taking = asyncio.create_task(take())
        while not await other.fetchval(WAITING_SQL):
            await other.execute("SELECT pg_sleep(0.001)")
        await erasing.commit()
        with pytest.raises(CodeTakenError):
            await taking
