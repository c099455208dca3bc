"""A state that the rules never make cannot be stored."""

from datetime import timedelta

import asyncpg
import pytest

from services.referrals.rules.program.kind import KIND
from services.referrals.store import programs
from shared.postgres.pool import Pool
from shared.programs.kind import Key
from shared.programs.store import SINCE_EVER, insert
from tests.referrals.conftest import ADA, BEN, Apply
from tests.referrals.programs import MINIMAL
from tests.referrals.shop import START, bought, signed_up


@pytest.mark.parametrize(
    "change, constraint",
    [
        ("advocate_id = friend_id", "referral_self"),
        ("state = 'rejected'", "referral_closed"),
        ("reason = 'refunded'", "referral_reason"),
        ("order_id = NULL", "referral_qualified"),
        ("order_id = NULL, qualified_at = NULL", "referral_qualified"),
        ("friend_points = NULL", "referral_approved"),
        ("approved_at = NULL, advocate_points = NULL, friend_points = NULL", "referral_approved"),
        ("advocate_points = -1", "referral_advocate_points_check"),
        ("state = 'paid'", "referral_state"),
    ],
)
async def test_a_broken_referral_cannot_be_stored(pool: Pool, apply: Apply, change: str, constraint: str):
    await apply([signed_up("fay", ADA), bought("fay", "o1", 5)])
    with pytest.raises(asyncpg.CheckViolationError) as caught:
        await pool.execute(f"UPDATE referral SET {change}")
    assert caught.value.constraint_name == constraint


async def test_a_friend_cannot_stand_in_two_referrals(pool: Pool, apply: Apply):
    await apply([signed_up("fay", ADA), signed_up("fay", BEN)])
    with pytest.raises(asyncpg.UniqueViolationError) as caught:
        await pool.execute(
            "UPDATE referral SET state = 'signed_up', reason = NULL, closed_at = NULL, next_at = signed_up_at"
        )
    assert caught.value.constraint_name == "referral_standing"


async def test_no_two_customers_have_one_code(pool: Pool):
    with pytest.raises(asyncpg.UniqueViolationError):
        await pool.execute("UPDATE referral_code SET code = $1", ADA)


async def test_a_draft_is_not_in_force(pool: Pool):
    async with pool.acquire() as connection, connection.transaction():
        await insert(connection, Key(KIND.name), MINIMAL, START, "key:ann")
        ((start, program),) = await programs.load_published(connection)
    assert (start, program.version, program.advocate_points, program.friend_points) == (SINCE_EVER, 1, 500, 200)
    assert (program.amount, program.within) == (20, timedelta(days=30))
