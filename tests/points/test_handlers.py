"""Batches of events against a real database: what is stored, published and counted.

Planted and caught here: a query per event; no lock on the accounts; open lots or refunds of earlier batches
that are not loaded; a settling that is not stored; a withdrawn review that still limits its sku.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from services.points.handlers import events as handlers
from services.points.handlers.commands import InsufficientPointsError
from shared import telemetry
from shared.contracts.envelope import Event
from shared.contracts.shop import Line, PurchaseCompleted, PurchaseRefunded, RefundLine
from shared.contracts.values import format_instant
from shared.postgres.pool import Connection, Pool
from tests.points import books
from tests.points.books import NOW, Balances, adjust, balances, check_books, deliver, published, transactions
from tests.points.oracles.model import Model
from tests.points.shop import (
    again,
    event,
    hour,
    purchase,
    redelivered,
    referral,
    refund,
    review,
    tier,
    withdrawal,
)


async def test_a_purchase_is_stored_and_published(points_pool: Pool):
    await deliver(points_pool, tier([(hour(-1), "1.25")]))
    bought = purchase("1", "100.00", hour(3))
    await deliver(points_pool, bought)
    [row] = await transactions(points_pool)
    assert (row["sequence"], row["kind"], row["points"], row["available_after"]) == (1, "earned", 125, 125)
    assert (row["occurred_at"], row["recorded_at"], row["rules_version"]) == (hour(3), NOW, 1)
    assert row["inputs"] == {"multiplier": "1.25", "tier": "x1.25"}
    [announced] = await published(points_pool)
    assert announced | {"id": "", "data": {}} == {
        "specversion": "1.0",
        "id": "",
        "source": "/wafa/points",
        "type": "loyalty.points.earned.v1",
        "time": format_instant(hour(3)),
        "subject": "ann",
        "datacontenttype": "application/json",
        "correlationid": bought.correlation_id,
        "causationid": bought.id,
        "data": {},
    }
    assert announced["data"] == {
        "customer_id": "ann",
        "transaction_id": str(row["id"]),
        "points": 125,
        "reason": {"kind": "purchase", "order_id": "1"},
        "qualifying_points": 100,
        "rules_version": 1,
        "balance": {"available": 125, "pending": 0, "held": 0, "debt": 0},
    }
    await check_books(points_pool)


async def test_a_refund_that_waited_is_the_cause_of_its_own_transaction(points_pool: Pool):
    early = refund("1", "r", "40.00", hour(1))
    await deliver(points_pool, early, refund("2", "s", "40.00"), withdrawal("v"))
    assert await balances(points_pool) == Balances()
    await deliver(points_pool, purchase("1", "100.00", hour(2)))
    earned, reversed_ = await published(points_pool)
    assert (earned["data"]["points"], reversed_["data"]["points"]) == (100, 40)
    assert (reversed_["causationid"], reversed_["time"]) == (early.id, format_instant(hour(1)))
    assert await points_pool.fetchval("SELECT count(*) FROM waiting") == 2
    await deliver(points_pool, purchase("2", "50.00"), review("v", "s"))
    assert await balances(points_pool) == Balances(available=70, lifetime_earned=70)
    assert await points_pool.fetchval("SELECT count(*) FROM waiting") == 0
    await check_books(points_pool)


async def test_each_event_has_its_effect_once(points_pool: Pool):
    facts = [purchase("1", "100.00"), refund("1", "r", "10.00"), review("v", "s"), referral("approved", "f")]
    await deliver(points_pool, *facts, *map(redelivered, facts))
    await deliver(points_pool, *map(redelivered, facts), *map(again, facts))
    assert (await balances(points_pool)).available == 100 - 10 + 50 + 500
    assert len(await transactions(points_pool)) == 5
    await check_books(points_pool)


async def test_a_withdrawn_review_frees_its_sku_for_those_judged_later(points_pool: Pool):
    for event_, available in (
        (review("1", "s"), 50),
        (review("2", "s"), 50),
        (withdrawal("1"), 0),
        (review("3", "s"), 50),
        (review("4", "s"), 50),
    ):
        await deliver(points_pool, event_)
        assert (await balances(points_pool)).available == available
    await check_books(points_pool)


async def test_a_timeline_is_replaced_from_its_first_instant_on(points_pool: Pool):
    await deliver(points_pool, tier([(hour(0), "1.25"), (hour(5), "2")]))
    await deliver(points_pool, purchase("late", "100.00", hour(9)))
    assert (await balances(points_pool)).available == 200
    await deliver(points_pool, tier([(hour(3), "1")], verb="demoted"))
    assert (await balances(points_pool)).available == 100
    await deliver(points_pool, purchase("later", "100.00", hour(10)), purchase("early", "100.00", hour(2)))
    assert (await balances(points_pool)).available == 100 + 100 + 125
    await check_books(points_pool)


@pytest.mark.parametrize("between", [False, True])
async def test_spent_points_are_taken_back_from_other_lots_then_become_debt(points_pool: Pool, between: bool):
    await deliver(points_pool, purchase("1", "100.00", hour(0)))
    await adjust(points_pool, "ann", -80)
    await deliver(points_pool, purchase("2", "30.00", hour(1)))
    if between:
        await deliver(points_pool, refund("1", "r", "45.00"))
        assert await balances(points_pool) == Balances(available=5, lifetime_earned=85)
        await deliver(points_pool, refund("1", "q", "55.00"), purchase("3", "20.00"))
    else:
        await deliver(points_pool, refund("1", "r", "100.00"), purchase("3", "20.00"))
    assert await balances(points_pool) == Balances(debt=30, lifetime_earned=50)
    await check_books(points_pool)
    await deliver(points_pool, review("v", "s"), withdrawal("v"))
    await adjust(points_pool, "ann", 31)
    assert await balances(points_pool) == Balances(available=1, lifetime_earned=50)
    await check_books(points_pool)


async def test_no_more_can_be_adjusted_away_than_is_available(points_pool: Pool):
    await deliver(points_pool, purchase("1", "100.00"))
    with pytest.raises(InsufficientPointsError) as refused:
        await adjust(points_pool, "ann", -101)
    assert refused.value.missing == 1
    with pytest.raises(InsufficientPointsError):
        await adjust(points_pool, "nobody", -1)
    assert await points_pool.fetchval("SELECT count(*) FROM account") == 1
    await adjust(points_pool, "ann", -100)
    assert (await balances(points_pool)).available == 0
    await check_books(points_pool)


async def test_a_refused_event_leaves_a_dead_letter_and_the_rest_its_effect(points_pool: Pool):
    other = purchase("1", "50.00", source="/shop/other")
    await deliver(points_pool, purchase("1", "100.00"), other, purchase("2", "1.00"))
    assert await books.refused(points_pool) == [(other.id, "order_conflict")]
    assert (await balances(points_pool)).available == 101
    assert await points_pool.fetchval("SELECT count(*) FROM inbox") == 2


def _counted() -> dict[str, float]:
    return {kind: telemetry.DUPLICATES.labels(kind)._value.get() for kind in ("natural_key", "repeat_differs")}


def full_purchase(**changes: Any) -> Event:
    """A purchase with every field of the contract."""
    data = PurchaseCompleted(
        customer_id="ann",
        order_id="1",
        currency="USD",
        total="10.50",
        lines=(Line("a", "sku", "1.5", "10.50", "fuel"), Line("b", "gift", 1, "0")),
        channel="",
        store_id="17",
        coupon_codes=("SPRING",),
    )
    return event("shop.purchase.completed.v1", hour(0), data.model_copy(update=changes))


async def test_repeats_are_compared_with_what_is_stored(points_pool: Pool):
    given_back = PurchaseRefunded(
        customer_id="ann",
        order_id="1",
        refund_id="r",
        currency="USD",
        amount="0.50",
        lines=(RefundLine("a", "0.5", "0.50"),),
    )
    facts = [full_purchase(), event("shop.purchase.refunded.v1", hour(1), given_back)]
    await deliver(points_pool, *facts)
    before = _counted()
    await deliver(points_pool, *map(again, facts))
    assert _counted() == {"natural_key": before["natural_key"] + 2, "repeat_differs": before["repeat_differs"]}
    await deliver(points_pool, full_purchase(store_id="18"), full_purchase(channel="web"))
    assert _counted()["repeat_differs"] == before["repeat_differs"] + 2


async def test_coupon_codes_are_not_kept_and_do_not_make_a_repeat_differ(points_pool: Pool):
    before = _counted()
    await deliver(points_pool, full_purchase(), full_purchase(coupon_codes=()))
    await deliver(points_pool, full_purchase(coupon_codes=("MONA30",)))
    assert _counted() == {"natural_key": before["natural_key"] + 2, "repeat_differs": before["repeat_differs"]}
    assert "coupon_codes" not in await points_pool.fetchval("SELECT body FROM purchase")


def mixed(number: int, customers: int) -> Event:
    """Of a stream of 7 purchases, 2 reviews and a refund in ten."""
    owner = f"customer-{number % customers}"
    match number % 10:
        case 3 | 8:
            return review(str(number), f"sku-{number % 7}", customer_id=owner)
        case 9:
            # An order of the batch before.
            return refund(str(number - 500 - 1), "r", "3.00", customer_id=owner)
        case _:
            return purchase(str(number), "100.00", customer_id=owner)


class Counted:
    """A connection that counts its statements."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.statements = 0

    def __getattr__(self, name: str) -> Callable[..., Any]:
        attribute = getattr(self._connection, name)
        self.statements += name in {"execute", "executemany", "fetch", "fetchrow", "fetchval", "copy_records_to_table"}
        return attribute


async def _statements(pool: Pool, events: Sequence[Event]) -> int:
    async with pool.acquire() as connection, connection.transaction():
        counted = Counted(connection)
        assert await handlers.handle(counted, events, NOW) == []
    return counted.statements


async def test_a_batch_takes_a_few_statements_whatever_it_holds(points_pool: Pool):
    numbers = range(500, 1000)
    bought = [purchase(str(number), "100.00", customer_id=f"customer-{number % 99}") for number in numbers]
    assert await _statements(points_pool, bought[:1]) <= 14
    assert await _statements(points_pool, bought[1:]) <= 14
    stream = [mixed(number, 99) for number in range(1000, 1500)]
    assert await _statements(points_pool, stream) <= 22
    everything = [
        *(mixed(number, 99) for number in range(1500, 1700)),
        *(tier([(hour(-1), "1.25")], customer_id=f"customer-{number}") for number in range(99)),
        *(referral("approved", f"f{number}", sides=(f"customer-{number}", "x")) for number in range(100)),
        *(withdrawal(str(number), customer_id=f"customer-{number % 99}") for number in range(1003, 1500, 10)),
        *(refund(f"unknown-{number}", "r", "3.00", customer_id=f"customer-{number}") for number in range(50)),
    ]
    assert await _statements(points_pool, everything) <= 30
    await check_books(points_pool)


async def test_transactions_at_once_on_the_same_customers_keep_the_books(points_pool: Pool):
    chance = random.Random(7)
    customers = [f"customer-{number}" for number in range(12)]
    streams = [_stream(customers, seed) for seed in range(3)]
    # Events that two partitions both have, as after a producer that hashed its keys differently.
    streams[1] += map(again, chance.sample(streams[0], 60))
    chance.shuffle(streams[1])

    async def run(stream: Sequence[Event]) -> None:
        for start in range(0, len(stream), 20):
            await deliver(points_pool, *stream[start : start + 20])

    async def correct() -> None:
        for customer in customers * 3:
            await adjust(points_pool, customer, 5)
            await asyncio.sleep(0)

    await asyncio.gather(*map(run, streams), correct())
    model = Model()
    for arrived in (item for stream in streams for item in stream):
        model.apply(arrived)
    for customer in customers:
        model.adjusted[customer] = 15
        available, debt = model.balance(customer)
        expected = Balances(available=available, debt=debt, lifetime_earned=model.earned(customer))
        assert await balances(points_pool, customer) == expected
    assert await books.refused(points_pool) == []
    await check_books(points_pool)


def _stream(customers: Sequence[str], seed: int) -> list[Event]:
    """Purchases, refunds (some first), reviews and referrals of all customers, mixed up."""
    chance = random.Random(seed)
    events: list[Event] = []
    for number in range(60):
        owner, other = chance.sample(customers, 2)
        events.append(purchase(f"{seed}-{number}", f"{chance.randint(0, 300)}.50", hour(number), customer_id=owner))
        events.append(refund(f"{seed}-{number}", "r", f"{chance.randint(0, 300)}", hour(number), customer_id=owner))
        if number % 4 == 0:
            events.append(review(f"{seed}-{number}", f"{seed}-{number}", customer_id=owner))
            events.append(referral("approved", f"{seed}-{number}", (7, 3), sides=(owner, other)))
            events.append(referral("voided", f"{seed}-{number + 4}", (7, 3), sides=(other, owner)))
    chance.shuffle(events)
    return events
