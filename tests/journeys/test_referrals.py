"""A ring of three is stopped: the sign-up that closes it is flagged, and paid only if a person approves it."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import asyncpg

from services.referrals.handlers.deciding import Call, decide_on
from services.referrals.rules.deciding import Decision
from shared.contracts.envelope import Cause
from shared.contracts.values import format_instant
from shared.postgres.pool import open_pool
from tests.journeys.shop import Shop, name
from tests.journeys.test_purchases import BALANCE_SQL, published
from tests.support.documents import put_into_force
from tests.support.stack import Stack

PROGRAM: Final[dict[str, Any]] = {
    "advocate_points": 500,
    "friend_points": 200,
    "currency": "USD",
    "qualifies": {"nth_order": 1, "amount_at_least": "20.00", "within_days": 30},
    "signals": [{"id": "circle", "action": "flag", "weight": 60}],
}
# No other journey has referrals.
SINCE: Final = datetime(2015, 1, 1, tzinfo=UTC)
ALPHABET: Final = "23456789CDFGHJKMNPQRTVWX"

CODE_SQL: Final = "INSERT INTO referral_code (customer_id, code, created_at) VALUES ($1, $2, now())"
FLAGGED_SQL: Final = "SELECT referral_id, friend_id, score FROM referral WHERE state = 'flagged'"
STATES_SQL: Final = "SELECT state, reason FROM referral WHERE friend_id = $1"
HISTORY_SQL: Final = """
SELECT step.state, actor, note FROM referral_step AS step JOIN referral USING (referral_id)
WHERE friend_id = $1 ORDER BY step.number
"""


def code_of(number: int) -> str:
    return "CDFGHJK" + ALPHABET[number]


def ago(hours: float) -> str:
    return format_instant(datetime.now(UTC) - timedelta(hours=hours))


async def give_codes(stack: Stack, customers: list[str]) -> dict[str, str]:
    connection = await asyncpg.connect(stack.env["WAFA_DATABASE_URL_REFERRALS"])
    try:
        codes = {customer: code_of(number) for number, customer in enumerate(customers)}
        await connection.executemany(CODE_SQL, list(codes.items()))
        return codes
    finally:
        await connection.close()


async def close_rings(stack: Stack, shop: Shop, rings: Sequence[list[str]], codes: dict[str, str]) -> None:
    """In every ring each brings the next, the last the first; all of them buy."""
    for place in range(3):
        for ring in rings:
            data = {"customer_id": ring[(place + 1) % 3], "code": codes[ring[place]]}
            shop.publish("shop.referral.signed_up.v1", data, time=ago(2))
        await stack.drain()
    for friend in (customer for ring in rings for customer in ring):
        shop.purchase(friend, name("order"), "25.00", time=ago(1))
    await stack.drain()


async def test_a_ring_of_three_is_stopped_until_a_person_decides(stack: Stack, shop: Shop):
    customers = [name("ringed") for _ in range(6)]
    rings = customers[:3], customers[3:]
    codes = await give_codes(stack, customers)
    pool = await open_pool(stack.env["WAFA_DATABASE_URL_REFERRALS"], application="journey", max_size=2)
    try:
        await put_into_force(pool, "referral_program", PROGRAM, SINCE)
        await close_rings(stack, shop, rings, codes)
        flagged = {row["friend_id"]: row for row in await pool.fetch(FLAGGED_SQL)}
        assert {friend: row["score"] for friend, row in flagged.items()} == {ring[0]: 60 for ring in rings}
        for ring in rings:
            # The first two friends and their advocates are paid; who closed the ring and its advocate are not.
            assert [await stack.value("points", BALANCE_SQL, person) for person in ring] == [525, 725, 225]
        decisions = (Decision.REJECT, Decision.APPROVE)
        for ring, decision in zip(rings, decisions, strict=True):
            call = Call(decision, "looked at it", "key:marketing", Cause.of_request("request"), datetime.now(UTC))
            async with pool.acquire() as connection, connection.transaction():
                decided = await decide_on(connection, [flagged[ring[0]]["referral_id"]], call, None)
            assert not decided.refused
        await stack.drain()
    finally:
        await pool.close()
    rejected, approved = rings
    assert [await stack.value("points", BALANCE_SQL, person) for person in rejected] == [525, 725, 225]
    assert [await stack.value("points", BALANCE_SQL, person) for person in approved] == [725, 725, 725]
    assert await stack.fetch("referrals", STATES_SQL, rejected[0]) == [("rejected", "decision")]
    assert await stack.fetch("referrals", HISTORY_SQL, approved[0]) == [
        ("signed_up", "system", None),
        ("qualified", "system", None),
        ("flagged", "system", None),
        ("approved", "key:marketing", "looked at it"),
    ]
    told = await published(stack, "loyalty.referrals", approved[2])
    assert [event["type"].split(".")[2] for event in told] == ["signed_up", "qualified", "flagged", "approved"]
    assert told[2]["data"]["signals"] == ["circle"]
