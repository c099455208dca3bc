"""Faults that users of such systems reported, each with the correct books.

Planted and caught here: the tier's extra with the first rule per amount, whether or not that matched.
"""

import json
from datetime import UTC, datetime, timedelta

from services.points.handlers import day
from shared.contracts.envelope import Event
from shared.contracts.shop import Line, PurchaseCompleted, PurchaseDelivered
from shared.postgres.pool import Pool
from tests.points.asking import enact
from tests.points.books import Balances, balances, check_books, deliver
from tests.points.shop import event, hour, purchase, tier
from tests.points.written import fixed, is_in, limit, on_delivery, per_amount, rule

WAITING = rule("p", per_amount("1.00", 2), is_in("sku", "P"), activate=on_delivery(10))
BASE = rule("base", per_amount())
JUNE = datetime(2026, 6, 1, tzinfo=UTC)


def bought(order_id: str, at: datetime, *skus: str) -> Event:
    """An order of 100.00 for each sku."""
    lines = tuple(Line(sku, sku, 1, "100.00") for sku in skus)
    data = PurchaseCompleted(
        customer_id="ann", order_id=order_id, currency="USD", total=f"{100 * len(skus)}.00", lines=lines
    )
    return event("shop.purchase.completed.v1", at, data)


def delivered(order_id: str, at: datetime) -> Event:
    return event("shop.purchase.delivered.v1", at, PurchaseDelivered(customer_id="ann", order_id=order_id))


async def test_the_extra_of_an_order_does_not_wait_for_a_rule_that_did_not_match(points_pool: Pool):
    await enact(points_pool, WAITING, BASE)
    silver = tier([(hour(1), "1.25")])
    await deliver(points_pool, purchase("1", "500.00", hour(0)), silver, bought("2", hour(2), "Q"), now=hour(3))
    assert await balances(points_pool, now=hour(3)) == Balances(available=625, lifetime_earned=625)
    await day.run(points_pool, JUNE)
    assert await balances(points_pool, now=JUNE) == Balances(available=625, lifetime_earned=625)
    await check_books(points_pool)


async def test_the_extra_is_judged_anew_when_the_rule_that_it_goes_by_is_given_up(points_pool: Pool):
    await enact(points_pool, WAITING, BASE)
    await deliver(points_pool, tier([(hour(1), "1.25")]), bought("2", hour(2), "P", "Q"), now=hour(3))
    # 200 of P and a quarter of all 400 wait; 200 of the base are there.
    assert await balances(points_pool, now=hour(3)) == Balances(available=200, pending=300, lifetime_earned=500)
    await day.run(points_pool, JUNE)
    assert await balances(points_pool, now=JUNE) == Balances(available=250, lifetime_earned=250)
    await check_books(points_pool)
    # A delivery in time that arrives late brings all of it back.
    await deliver(points_pool, delivered("2", hour(5)), now=JUNE)
    assert await balances(points_pool, now=JUNE) == Balances(available=500, lifetime_earned=500)
    await check_books(points_pool)


async def test_a_sku_without_uses_left_does_not_keep_another_from_earning(points_pool: Pool):
    once = rule("once", fixed(40), limits=[limit(scope="customer_sku", count=1)])
    await enact(points_pool, once)
    for number, (skus, points) in enumerate(((("A",), 40), (("A", "B"), 80), (("A", "B"), 80), (("C", "B"), 120))):
        await deliver(points_pool, bought(str(number), hour(number), *skus))
        assert (await balances(points_pool)).available == points
    await check_books(points_pool)


async def test_a_purchase_of_more_points_than_fit_an_account_is_cut_and_blocks_no_event(points_pool: Pool):
    # As it may have been published before there was a bound.
    million = {"kind": "per_amount", "points": 10**9, "amount": "0.0001"}
    await enact(points_pool, BASE)
    await points_pool.execute(
        "UPDATE document_version SET document = jsonb_set(document::jsonb, '{rules,0,award}', $1::text::jsonb)::json"
        " WHERE version = 2",
        json.dumps(million),
    )
    for number in range(12):
        events = [purchase(f"{number}-{index}", "2000000.00", hour(number)) for index in range(500)]
        await deliver(points_pool, *events, purchase(f"{number}", "0.0001", hour(number), customer_id="bob"))
    assert await points_pool.fetchval("SELECT count(*) FROM dead_letter") == 0
    assert (await balances(points_pool)).available == 4 * 10**18
    assert (await balances(points_pool, "bob")).available == 12 * 10**9


async def test_a_batch_that_spans_many_versions_is_judged_by_those_of_its_events(points_pool: Pool):
    for number in range(30):
        await enact(points_pool, rule("base", per_amount("1.00", number + 1)), since=hour(number))
    events = [purchase(f"{number}", "1.00", hour(number + 0.5)) for number in (0, 7, 29)]
    await deliver(points_pool, *events, purchase("old", "1.00", hour(-1)))
    assert (await balances(points_pool)).available == 1 + 8 + 30 + 1


async def test_rises_that_return_in_a_later_batch_keep_their_awards(points_pool: Pool):
    await enact(points_pool, rule("climbed", fixed(100), on="tier_promotion"))
    await enact(points_pool, rule("climbed", fixed(300), on="tier_promotion"), since=hour(5))
    twice = [(hour(at), multiplier) for at, multiplier in ((1, "1.25"), (2, "1"), (3, "1.25"))]
    await deliver(points_pool, tier(twice))
    assert (await balances(points_pool)).available == 200
    await deliver(points_pool, tier([(hour(1), "1")], verb="corrected"))
    assert (await balances(points_pool)).available == 0
    await deliver(points_pool, tier([(at + timedelta(hours=5), multiplier) for at, multiplier in twice]))
    assert (await balances(points_pool)).available == 200
    await check_books(points_pool)
