"""Batches of events on a real database: which tiers they change, and what they announce."""

import asyncio
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest

from services.tiers.handlers.events import handle
from shared.contracts.values import format_instant
from shared.postgres.pool import Pool
from tests.tiers.applied import NOW, announced, apply, published, read_status, timeline
from tests.tiers.shop import NOON, day, purchase, refund


async def test_the_purchase_that_reaches_a_tier_promotes_at_its_instant(tiers_pool: Pool):
    first, second = purchase("1", "499.99", day(0)), purchase("2", "0.01", day(1))
    assert await apply(tiers_pool, first) == []
    assert await published(tiers_pool) == []
    await apply(tiers_pool, second)
    [event] = await published(tiers_pool)
    assert event["type"] == "loyalty.tier.promoted.v1"
    assert event["source"] == "/wafa/tiers"
    assert event["time"] == format_instant(day(1))
    assert event["correlationid"] == second.correlation_id
    assert event["causationid"] == second.id
    assert event["data"] == {
        "customer_id": "ann",
        "program_version": 1,
        "from": "member",
        "to": "silver",
        "reason": "spend",
        "effective_at": format_instant(day(1)),
        "points_multiplier": "1.25",
        "timeline": [{"effective_at": format_instant(day(1)), "tier": "silver", "points_multiplier": "1.25"}],
        "progress": {"metric": "spend", "value": "500.00", "needed": "1500.00", "next": "gold"},
    }
    [key] = await tiers_pool.fetchrow("SELECT key FROM outbox")
    assert key == b"ann"


async def test_two_tiers_earned_at_once_are_one_event(tiers_pool: Pool):
    await apply(tiers_pool, purchase("1", "1500.00"))
    [event] = await published(tiers_pool)
    assert announced(event) == ("promoted", "member", "gold", [(NOON, "gold")])
    assert "progress" not in event["data"]


async def test_purchases_of_one_instant_count_together(tiers_pool: Pool):
    await apply(tiers_pool, purchase("1", "600.00"))
    await apply(tiers_pool, purchase("2", "900.00"))
    assert await timeline(tiers_pool) == [(NOON, "gold")]
    assert [announced(event) for event in await published(tiers_pool)] == [
        ("promoted", "member", "silver", [(NOON, "silver")]),
        ("promoted", "silver", "gold", [(NOON, "gold")]),
    ]


async def test_what_a_batch_publishes_does_not_depend_on_its_size(tiers_pool: Pool):
    await apply(tiers_pool, purchase("1", "600.00", day(0)), purchase("2", "900.00", day(1)))
    assert [announced(event) for event in await published(tiers_pool)] == [
        ("promoted", "member", "silver", [(day(0), "silver")]),
        ("promoted", "silver", "gold", [(day(1), "gold")]),
    ]


@pytest.mark.parametrize(("days", "tier"), [(364, "silver"), (365, "member")])
async def test_the_window_is_365_calendar_days(tiers_pool: Pool, days: int, tier: str):
    # To the last second of the last day, from the first of the first.
    early = NOON.replace(hour=0, minute=0)
    late = early + timedelta(days=days, hours=23, minutes=59)
    await apply(tiers_pool, purchase("1", "499.99", early if days == 364 else early + timedelta(hours=23)))
    await apply(tiers_pool, purchase("2", "0.01", late))
    assert (await read_status(tiers_pool, "ann", late)).tier.id == tier


async def test_what_leaves_the_window_within_a_batch_no_longer_counts(tiers_pool: Pool):
    await apply(tiers_pool, purchase("1", "300.00", day(0)))
    await apply(tiers_pool, purchase("2", "200.00", day(400)), purchase("3", "299.00", day(500)))
    assert await timeline(tiers_pool) == []
    await apply(tiers_pool, purchase("4", "1.00", day(501)))
    assert await timeline(tiers_pool) == [(day(501), "silver")]


async def test_a_tier_once_reached_stays_when_spend_leaves_or_is_given_back(tiers_pool: Pool):
    await apply(tiers_pool, purchase("1", "500.00", day(0)))
    await apply(tiers_pool, refund("1", "r", "500.00", day(1)))
    await apply(tiers_pool, purchase("2", "1.00", day(800)))
    assert await timeline(tiers_pool) == [(day(0), "silver")]
    assert len(await published(tiers_pool)) == 1


async def test_refunds_lower_what_later_purchases_reach(tiers_pool: Pool):
    await apply(tiers_pool, purchase("1", "400.00", day(0)), refund("1", "r", "150.00", day(1)))
    await apply(tiers_pool, purchase("2", "249.99", day(2)))
    assert await timeline(tiers_pool) == []
    await apply(tiers_pool, purchase("3", "0.01", day(3)))
    assert await timeline(tiers_pool) == [(day(3), "silver")]


async def test_thirds_of_a_cent_are_exact(tiers_pool: Pool):
    # The refund by share leaves 2/3 of each line; of "a" the second one takes that.
    lines = [("a", "1.00"), ("b", "1.00"), ("c", "1.00")]
    await apply(tiers_pool, purchase("1", "3.00", day(0), lines=lines))
    await apply(tiers_pool, refund("1", "r1", "1.00", day(1)))
    await apply(tiers_pool, refund("1", "r2", "1.00", day(2), lines=[("a", "1.00")]))
    takings = await tiers_pool.fetch("SELECT amount, divisor FROM taken ORDER BY at")
    assert sum(Fraction(row["amount"]) / Fraction(row["divisor"]) for row in takings) == Fraction(-5, 3)
    await apply(tiers_pool, purchase("2", "498.6666", day(3)))
    assert await timeline(tiers_pool) == []
    await apply(tiers_pool, purchase("3", "0.0001", day(4)))
    assert await timeline(tiers_pool) == [(day(4), "silver")]


async def test_other_currencies_count_nothing(tiers_pool: Pool):
    await apply(tiers_pool, purchase("1", "9000.00", currency="EUR"), purchase("2", "499.99"))
    assert await timeline(tiers_pool) == []
    assert (await read_status(tiers_pool, "ann", day(1))).spend == Fraction("499.99")


async def test_a_late_purchase_moves_the_promotion_back(tiers_pool: Pool):
    await apply(tiers_pool, purchase("1", "400.00", day(0)), purchase("3", "400.00", day(2)))
    await apply(tiers_pool, purchase("2", "100.00", day(1)))
    assert await timeline(tiers_pool) == [(day(1), "silver")]
    assert announced((await published(tiers_pool))[-1]) == ("corrected", "silver", "silver", [(day(1), "silver")])


async def test_a_late_purchase_that_lifts_the_tier_of_now_promotes(tiers_pool: Pool):
    await apply(tiers_pool, purchase("1", "600.00", day(0)), purchase("3", "800.00", day(2)))
    await apply(tiers_pool, purchase("2", "100.00", day(1)))
    assert await timeline(tiers_pool) == [(day(0), "silver"), (day(2), "gold")]
    event = (await published(tiers_pool))[-1]
    assert announced(event) == ("promoted", "silver", "gold", [(day(2), "gold")])
    # Its time is that of its cause, which is not when it takes effect.
    assert event["time"] == format_instant(day(1))


async def test_a_late_refund_that_undoes_a_promotion_demotes_from_its_instant(tiers_pool: Pool):
    await apply(tiers_pool, purchase("1", "400.00", day(0)), purchase("2", "100.00", day(2)))
    await apply(tiers_pool, refund("1", "r", "0.01", day(1)))
    assert await timeline(tiers_pool) == []
    event = (await published(tiers_pool))[-1]
    assert announced(event) == ("demoted", "silver", "member", [(day(2), "member")])
    assert event["data"]["reason"] == "refund"
    assert event["data"]["points_multiplier"] == "1"
    assert event["data"]["progress"] == {"metric": "spend", "value": "499.99", "needed": "500.00", "next": "silver"}


async def test_a_late_refund_that_delays_a_promotion_corrects(tiers_pool: Pool):
    await apply(
        tiers_pool,
        purchase("1", "400.00", day(0)),
        purchase("2", "100.00", day(2)),
        purchase("3", "100.00", day(3)),
    )
    await apply(tiers_pool, refund("1", "r", "50.00", day(1)))
    assert await timeline(tiers_pool) == [(day(3), "silver")]
    assert announced((await published(tiers_pool))[-1]) == (
        "corrected",
        "silver",
        "silver",
        [(day(2), "member"), (day(3), "silver")],
    )


@pytest.mark.parametrize(("total", "left"), [("500.00", []), ("1500.00", [(NOON, "silver")])])
async def test_a_refund_at_the_instant_of_the_purchase_counts_for_it(
    tiers_pool: Pool, total: str, left: list[tuple[datetime, str]]
):
    await apply(tiers_pool, purchase("1", total))
    await apply(tiers_pool, refund("1", "r", "1.00", NOON))
    assert await timeline(tiers_pool) == left


async def test_a_late_purchase_after_the_highest_tier_was_undone_is_judged(tiers_pool: Pool):
    await apply(tiers_pool, purchase("1", "1400.00", day(0)), purchase("2", "100.00", day(2)))
    await apply(tiers_pool, purchase("3", "0.01", day(5)))
    await apply(tiers_pool, refund("1", "r", "0.02", day(1)), purchase("4", "0.01", day(3)))
    assert await timeline(tiers_pool) == [(day(0), "silver"), (day(5), "gold")]


async def test_late_events_far_apart_are_judged_with_all_that_each_needs(tiers_pool: Pool):
    await apply(tiers_pool, purchase("1", "400.00", day(0)), purchase("2", "1.00", day(800)))
    await apply(tiers_pool, purchase("3", "100.00", day(10)), purchase("4", "1.00", day(400)))
    assert await timeline(tiers_pool) == [(day(10), "silver")]


async def test_a_purchase_between_a_purchase_and_its_refund_sees_no_refund(tiers_pool: Pool):
    await apply(tiers_pool, purchase("1", "400.00", day(0)), refund("1", "r", "400.00", day(2)))
    await apply(tiers_pool, purchase("2", "100.00", day(1)))
    assert await timeline(tiers_pool) == [(day(1), "silver")]
    assert (await read_status(tiers_pool, "ann", day(3))).spend == 100


async def test_the_window_ends_with_the_last_thing_that_happened_even_to_an_old_order(tiers_pool: Pool):
    await apply(tiers_pool, purchase("old", "100.00", day(0)), purchase("1", "350.00", day(200)))
    await apply(tiers_pool, refund("old", "r", "100.00", day(800)))
    await apply(tiers_pool, purchase("late", "100.00", day(400)))
    # Neither of the two is within its window.
    await apply(tiers_pool, purchase("2", "150.00", day(801)))
    assert await timeline(tiers_pool) == []
    assert (await read_status(tiers_pool, "ann", day(801))).spend == 150


async def test_a_step_in_order_before_a_late_one_of_its_batch_is_judged_by_its_own_window(tiers_pool: Pool):
    await apply(tiers_pool, purchase("1", "400.00", day(0)), purchase("2", "400.00", day(400)))
    in_order, late = purchase("3", "100.00", day(401)), purchase("4", "1.00", day(300))
    await apply(tiers_pool, in_order, late)
    [event] = await published(tiers_pool)
    assert announced(event) == ("promoted", "member", "silver", [(day(401), "silver")])
    assert event["causationid"] == in_order.id


async def test_what_left_the_window_before_a_late_step_of_the_batch_no_longer_counts(tiers_pool: Pool):
    await apply(tiers_pool, purchase("old", "400.00"))
    in_order, last = purchase("new", "200.00", day(400)), purchase("last", "1.00", day(500))
    await apply(tiers_pool, in_order, last, purchase("late", "1.00", day(450)))
    assert await timeline(tiers_pool) == []
    assert (await read_status(tiers_pool, "ann", day(500))).spend == Fraction("202.00")


async def test_what_left_the_window_of_the_highest_tier_is_not_shown(tiers_pool: Pool):
    await apply(tiers_pool, purchase("old", "1000.00"))
    highest, last = purchase("gold", "500.00", day(300)), purchase("last", "3.00", day(800))
    # Nothing is late any more when the refund comes, since the batch has reached the highest tier by then.
    await apply(tiers_pool, highest, last, refund("gold", "r", "5.00", day(600)))
    assert (await read_status(tiers_pool, "ann", day(800))).spend == Fraction("3.00")


async def test_the_first_day_of_the_calendar_is_welcome(tiers_pool: Pool):
    begin = datetime(1, 1, 1, tzinfo=UTC)
    await apply(tiers_pool, purchase("1", "500.00", begin))
    await apply(tiers_pool, purchase("0", "500.00", begin), purchase("2", "1.00", day(0)))
    assert await timeline(tiers_pool) == [(begin, "silver")]


async def test_changes_are_recorded_with_their_cause(tiers_pool: Pool):
    last = refund("1", "r", "1.00", NOON)
    await apply(tiers_pool, purchase("1", "500.00"), now=day(7))
    await apply(tiers_pool, last, now=day(8))
    rows = await tiers_pool.fetch("SELECT * FROM tier_change ORDER BY id")
    assert [(row["kind"], row["from_tier"], row["to_tier"], row["reason"]) for row in rows] == [
        ("promoted", "member", "silver", "spend"),
        ("demoted", "silver", "member", "refund"),
    ]
    assert [row["recorded_at"] for row in rows] == [day(7), day(8)]
    assert (rows[1]["event_source"], rows[1]["event_id"]) == (last.source, last.id)


async def test_two_workers_on_one_customer_lose_nothing(tiers_pool: Pool):
    await apply(tiers_pool, purchase("0", "100.00", day(0)))
    async with tiers_pool.acquire() as locking, tiers_pool.acquire() as other:
        first = locking.transaction()
        await first.start()
        await handle(locking, [purchase("1", "200.00", day(0))], NOW)
        waiting = asyncio.create_task(apply(tiers_pool, purchase("2", "200.00", day(1))))
        await other.fetchval("SELECT pg_sleep(0.2)")
        assert not waiting.done()
        await first.commit()
        await waiting
    assert await timeline(tiers_pool) == [(day(1), "silver")]
