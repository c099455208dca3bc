"""An erased customer's code refers nobody any more; what it brought goes on."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from msgspec import structs

from services.referrals.handlers import find_or_make_code, follow
from services.referrals.store import codes
from shared.contracts.envelope import Event
from shared.postgres.pool import Pool
from tests.contracts.records import envelope, read, structured
from tests.referrals.conftest import ADA, Apply
from tests.referrals.shop import START, bought, signed_up


def erased(customer_id: str) -> Event:
    event = envelope("shop.customer.erased.v1", id=str(uuid4()), subject=..., data={"customer_id": customer_id})
    return structs.replace(read(structured(event)), time=datetime.now(UTC))


async def test_a_code_is_unknown_after_the_erasure_and_what_it_brought_goes_on(pool: Pool, apply: Apply):
    assert await follow(pool, ADA, START) == ADA
    assert await apply([signed_up("zoe", ADA)], [erased("ada")]) == []
    assert await follow(pool, ADA, START) is None
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
        new = await find_or_make_code(connection, "ada", datetime.now(UTC) + timedelta(minutes=1))
    assert new != ADA
    await apply([signed_up("zoe", new)])
    assert await pool.fetchval("SELECT code FROM referral WHERE friend_id = 'zoe'") == new
