"""The cost of an event, in rows and statements, does not depend on its customer's history."""

from collections.abc import Sequence

import pytest

from services.referrals.handlers.events import handle
from services.referrals.handlers.verifying import verify
from shared.contracts.envelope import Event
from shared.postgres.pool import Pool
from tests.referrals.conftest import ADA, BEN, Apply, verbs
from tests.referrals.shop import START, bought, refunded, signed_up
from tests.support.counting import Counting


async def cost(pool: Pool, *events: Event) -> tuple[int, int]:
    """Statements and rows of a batch, which is applied and refuses nothing."""
    async with pool.acquire() as connection, connection.transaction():
        counting = Counting(connection)
        assert await handle(counting, events, START) == []  # pyright: ignore[reportArgumentType]
        return counting.statements, counting.rows


async def fed(apply: Apply, events: Sequence[Event]) -> None:
    for start in range(0, len(events), 500):
        assert await apply(events[start : start + 500]) == []


async def offenders(pool: Pool) -> list[str]:
    return [check.name async for check in verify(pool, 100) if check.offenders]


@pytest.mark.parametrize("step", [0.001, -0.001])
@pytest.mark.parametrize("early", [True, False])
async def test_a_refund_of_the_qualifying_order_reads_no_others(pool: Pool, apply: Apply, step: float, *, early: bool):
    refunds = [refunded("fay", "o", f"r{number}", 5 + number * step, "0.01") for number in range(1_500)]
    order = bought("fay", "o", 1, "36.00")
    await fed(apply, [signed_up("fay", ADA), *([*refunds, order] if early else [order, *refunds])])
    for number, hours in enumerate((9, 5.0005, 2)):
        statements, rows = await cost(pool, refunded("fay", "o", f"late {number}", hours, "0.01"))
        assert statements < 12
        assert rows < 12
    assert await verbs(pool) == ["signed_up", "qualified", "approved"]
    assert await offenders(pool) == []
    # The refund that leaves less than 20.00 voids the referral, whenever it counts.
    await apply([refunded("fay", "o", "last", 3, "0.98")])
    assert await verbs(pool) == ["signed_up", "qualified", "approved", "voided"]
    assert await offenders(pool) == []
    assert (await cost(pool, refunded("fay", "o", "more", 4, "1.00")))[1] < 12


async def test_refunds_by_line_and_by_share_read_no_others_while_enough_is_kept(pool: Pool, apply: Apply):
    lines = (("a", "30.00"), ("b", "30.00"))
    refunds = [
        refunded("fay", "o", f"r{number}", 500 - number / 1000, "0.01", lines=(("a", "0.01"),) if number % 2 else ())
        for number in range(1_500)
    ]
    await fed(apply, [signed_up("fay", ADA), bought("fay", "o", 1, "60.00", lines=lines), *refunds])
    assert (await cost(pool, refunded("fay", "o", "late", 3, "0.01")))[1] < 12
    await apply([refunded("fay", "o", "last", 2, "25.00")])
    assert await verbs(pool) == ["signed_up", "qualified", "approved", "voided"]
    assert await offenders(pool) == []


async def test_an_approval_from_before_reads_its_refunds_once(pool: Pool, apply: Apply):
    refunds = [refunded("fay", "o", f"r{number}", 5 + number / 1000, "0.01") for number in range(300)]
    await apply([signed_up("fay", ADA), bought("fay", "o", 1, "36.00"), *refunds])
    await pool.execute("UPDATE referral SET kept = NULL")  # as the migration leaves it
    assert (await cost(pool, refunded("fay", "o", "s", 2, "0.01")))[1] > 300
    assert (await cost(pool, refunded("fay", "o", "t", 2, "0.01")))[1] < 12
    assert await offenders(pool) == []


async def test_a_sign_up_reads_two_orders_at_most(pool: Pool, apply: Apply):
    await fed(apply, [bought("fay", f"o{number}", 1 + number / 100, "5.00") for number in range(1_500)])
    await fed(apply, [bought("fay", f"p{number}", 30 + number / 100, "25.00") for number in range(500)])
    await fed(apply, [refunded("fay", "p7", f"r{number}", 50, "0.01") for number in range(500)])
    statements, rows = await cost(pool, signed_up("fay", ADA))
    assert statements < 20
    assert rows < 12
    assert (await cost(pool, signed_up("fay", BEN)))[1] < 12
    assert await verbs(pool) == ["signed_up", "qualified", "approved", "rejected"]
    assert await offenders(pool) == []


async def test_an_order_of_an_advocate_with_many_friends_reads_none_of_them(pool: Pool, apply: Apply):
    await fed(apply, [signed_up(f"friend-{number}", ADA) for number in range(1_500)])
    assert (await cost(pool, bought("ada", "o", 1)))[1] < 12
    assert (await cost(pool, bought("friend-7", "o", 1)))[1] < 12


async def test_sign_ups_with_a_code_of_ones_own_are_passed_over(pool: Pool, apply: Apply):
    await fed(apply, [bought("ada", f"o{number}", 1, "25.00") for number in range(500)])
    await fed(apply, [signed_up("ada", ADA)])
    await (
        pool.execute("""
        WITH copy AS (
            INSERT INTO referral (referral_id, advocate_id, friend_id, code, program_version, state, reason, signals,
                                  signed_up_at, closed_at, recorded_at)
            SELECT gen_random_uuid(), advocate_id, friend_id, code, program_version, state, reason, signals,
                   signed_up_at, closed_at, recorded_at
            FROM referral, generate_series(1, 500)
            RETURNING referral_id, signed_up_at, recorded_at, state, reason
        )
        INSERT INTO referral_step (referral_id, at, recorded_at, state, reason, actor) SELECT *, 'system' FROM copy""")
    )  # as releases before natural keys of sign-ups left them
    assert (await cost(pool, signed_up("ada", ADA)))[1] < 12
    assert (await cost(pool, signed_up("ada", BEN)))[1] < 12
    assert (await verbs(pool))[-3:] == ["signed_up", "qualified", "approved"]
    assert await offenders(pool) == []
