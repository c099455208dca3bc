"""The queue and the summary read by their indexes, however many referrals there are."""

from typing import Any
from uuid import UUID

import pytest

from services.referrals.store import queue, summary
from shared.postgres.pool import Pool
from tests.referrals.shop import START

MIDDLE = UUID(int=2**127)

FILL_SQL = """
INSERT INTO referral (referral_id, advocate_id, friend_id, code, program_version, state, reason, score, signed_up_at,
                      closed_at, recorded_at)
SELECT gen_random_uuid(), 'ada', 'f' || n, 'c', 1, 'rejected', 'fraud', n % 100, $1::timestamptz, $1,
       $1 - n * interval '1 hour'
FROM generate_series(1, 20000) AS n
"""


@pytest.mark.parametrize(
    ("statement", "arguments", "index"),
    [
        (queue.PAGE_OF_STATE_SQL, ("rejected", 50, MIDDLE, START, 51), "referral_queue"),
        (queue.PAGE_SQL, (50, MIDDLE, 51), "referral_score"),
        (queue.OTHERS_SQL, ("ada", "00000000-0000-0000-0000-000000000000", 1000), "referral_advocate"),
        (summary.SIGN_UPS_SQL, (START,), "referral_recorded"),
        (summary.STEPS_SQL, (START,), "referral_step_recorded"),
    ],
    ids=["state", "all", "others", "sign-ups", "steps"],
)
async def test_a_plan_uses_its_index(pool: Pool, statement: str, arguments: tuple[Any, ...], index: str):
    async with pool.acquire() as connection:
        await connection.execute(FILL_SQL, START)
        await connection.execute(
            "INSERT INTO referral_step (referral_id, at, recorded_at, state, actor)"
            " SELECT referral_id, signed_up_at, recorded_at, state, 'system' FROM referral"
        )
        await connection.execute("ANALYZE referral, referral_step")
        plan = "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {statement}", *arguments))
    assert index in plan, plan
    assert "Seq Scan" not in plan, plan
    # The page begins at the cursor, not at the top.
    assert statement not in {queue.PAGE_OF_STATE_SQL, queue.PAGE_SQL} or "Index Cond" in plan, plan
