"""A referral by a code that its advocate chose is shown with that code, and with the facts about it."""

import httpx

from services.referrals.handlers.codes import choose
from services.referrals.handlers.events import handle
from shared.postgres.pool import Pool
from tests.referrals.conftest import Headers
from tests.referrals.evidence.told import KEY, signed_up
from tests.referrals.review.conftest import id_of
from tests.referrals.shop import START


async def test_a_chosen_code_is_shown_as_it_is_spelled(client: httpx.AsyncClient, pool: Pool, marketing: Headers):
    async with pool.acquire() as connection, connection.transaction():
        await choose(connection, "ada", "Ada-Love", START)
        sign_ups = [signed_up(f"f{number}", 0, "adalove", ip=f"8.8.{number}.8") for number in range(3)]
        await handle(connection, sign_ups, START, KEY)
    answer = await client.get(f"/v1/referrals/{await id_of(pool, 'f2')}", headers=marketing)
    assert answer.json()["code"] == "ADALOVE"
    networks = "Friends signed up with this code from 3 networks in the 7 days up to the sign-up."
    assert networks in [words for side in answer.json()["facts"].values() for words in side]
