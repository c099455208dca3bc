"""A state that the rules never make cannot be stored."""

import asyncpg
import pytest

from services.referrals.store import programs
from shared.postgres.pool import Pool
from tests.referrals.conftest import ADA, BEN, Apply
from tests.referrals.shop import bought, signed_up


@pytest.mark.parametrize(
    "change, constraint",
    [
        ("advocate_id = friend_id", "referral_self"),
        ("state = 'rejected'", "referral_closed"),
        ("reason = 'refunded'", "referral_closed"),
        ("order_id = NULL", "referral_qualified"),
        ("order_id = NULL, qualified_at = NULL", "referral_qualified"),
        ("friend_points = NULL", "referral_approved"),
        ("approved_at = NULL, advocate_points = NULL, friend_points = NULL", "referral_approved"),
        ("advocate_points = -1", "referral_advocate_points_check"),
        ("state = 'paid'", "referral_state_check"),
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
        await pool.execute("UPDATE referral SET state = 'signed_up', reason = NULL, closed_at = NULL")
    assert caught.value.constraint_name == "referral_standing"


async def test_no_two_customers_have_one_code(pool: Pool):
    with pytest.raises(asyncpg.UniqueViolationError):
        await pool.execute("UPDATE referral_code SET code = $1", ADA)


async def test_a_draft_is_not_in_force(pool: Pool):
    await pool.execute(
        "INSERT INTO referral_program (version, state, document) SELECT 2, 'draft', document FROM referral_program"
    )
    async with pool.acquire() as connection:
        (program,) = await programs.load_published(connection)
    assert (program.version, program.document.advocate_points, program.document.friend_points) == (1, 500, 200)
    assert (program.minimum, program.document.within_hours) == (20, 30 * 24)
