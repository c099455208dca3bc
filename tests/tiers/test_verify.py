"""`verify` finds every kind of wrong record of what counts, and no fault in what events leave."""

import random
from collections.abc import Mapping, Sequence
from datetime import timedelta

from services.tiers.handlers.verifying import verify
from shared.contracts.envelope import Event
from shared.postgres.pool import Pool
from tests.support.broken import broken
from tests.tiers.applied import NOW, apply
from tests.tiers.shop import activity, day, points, purchase, referral, refund, review, withdrawal

TAKEN = "what was taken of an order is at most its total"
BACK = "reviews and referrals that were taken back count no more"
POINTS = "no more points were reversed than earned"
REFUNDS = "refunds have their order, and none waits for a recorded one"
REPLAY = "what was taken back = a replay of the events"
CHECKS = {TAKEN, BACK, POINTS, REFUNDS, REPLAY}

# Ann returns a part of an order; Bob the whole of one, in euros, and a review.
LIFE = (
    purchase("1", "600.00", day(0), lines=(("a", "300.00"), ("b", "300.00"))),
    refund("1", "r", "20.00", day(1)),
    refund("1", "s", "30.00", day(2), lines=(("a", "30.00"),)),
    purchase("2", "1000.00", day(3)),
    purchase("3", "10.00", day(2), customer_id="bob", currency="EUR"),
    refund("3", "r", "10.00", day(2.5), customer_id="bob", currency="EUR"),
    refund("5", "r", "1.00", day(3), customer_id="bob"),
    review("1", day(1), customer_id="bob"),
    withdrawal("1", day(2), customer_id="bob"),
    points("t", 10, day(1), customer_id="bob"),
    points("u", 4, day(2), customer_id="bob", verb="reversed"),
    points("v", 4, day(3), customer_id="bob", verb="reversed"),
)

# Statements that break the database, and the offenders that each check finds then.
BROKEN: Mapping[str, Mapping[str, Sequence[str]]] = {
    "DELETE FROM taken WHERE amount = -20": {REPLAY: ["ann"]},
    "UPDATE taken SET amount = -580.01 WHERE amount = -20": {TAKEN: ["ann/order/1"], REPLAY: ["ann"]},
    "UPDATE taken SET at = at + interval '1 second' WHERE amount = -20": {REPLAY: ["ann"]},
    "UPDATE taken SET earned_at = at WHERE amount = -20": {REPLAY: ["ann"]},
    "UPDATE taken SET name = 'USD' WHERE name = 'EUR'": {REPLAY: ["bob"]},
    "UPDATE taken SET about = 'order/9' WHERE about = 'order/3'": {
        TAKEN: ["bob/order/3", "bob/order/9"],
        REPLAY: ["bob"],
    },
    "DELETE FROM taken WHERE metric = 'orders'": {TAKEN: ["bob/order/3"], REPLAY: ["bob"]},
    "UPDATE purchase SET gone_at = NULL": {TAKEN: ["bob/order/3"], REPLAY: ["bob"]},
    "UPDATE purchase SET gone_at = gone_at + interval '1 second'": {REPLAY: ["bob"]},
    "UPDATE purchase SET gone_at = purchased_at WHERE order_id = '2'": {TAKEN: ["ann/order/2"], REPLAY: ["ann"]},
    "UPDATE purchase SET total = 11 WHERE order_id = '3'": {TAKEN: ["bob/order/3"], REPLAY: ["bob"]},
    "DELETE FROM refund WHERE customer_id = 'bob'": {REPLAY: ["bob"]},
    """UPDATE refund SET lines = '[["c", "30.00"]]' WHERE refund_id = 's'""": {REPLAY: ["ann"]},
    "DELETE FROM purchase WHERE order_id = '3'": {
        TAKEN: ["bob/order/3"],
        REFUNDS: ["bob/3/r"],
        REPLAY: ["bob"],
    },
    "UPDATE waiting SET about = 'order/3'": {REFUNDS: ["bob/3/refund/r"]},
    "DELETE FROM taken WHERE metric = 'reviews'": {BACK: ["bob/review/1"]},
    "UPDATE counted SET taken_at = NULL": {BACK: ["bob/review/1"]},
    "UPDATE taken SET at = at + interval '1 second' WHERE metric = 'reviews'": {BACK: ["bob/review/1"]},
    "DELETE FROM counted WHERE key = 'u'": {POINTS: ["bob/order/1"], REPLAY: ["bob"]},
    "DELETE FROM taken WHERE metric = 'points' AND at > '2026-03-03 18:00Z'": {
        POINTS: ["bob/order/1"],
        REPLAY: ["bob"],
    },
    "UPDATE taken SET at = at + interval '1 second' WHERE metric = 'points'": {REPLAY: ["bob"]},
}


async def offenders(pool: Pool) -> dict[str, list[str]]:
    """The offenders by check of what counts, where there are any."""
    return {
        check.name: sorted(check.offenders)
        async for check in verify(pool, 1000, NOW)
        if check.offenders and check.name in CHECKS
    }


async def test_every_kind_of_wrong_record_is_found(tiers_pool: Pool):
    for event in LIFE:
        await apply(tiers_pool, event)
    assert await offenders(tiers_pool) == {}
    named: dict[str, Mapping[str, Sequence[str]]] = {}
    for statements in BROKEN:
        async with broken(tiers_pool, statements) as pool:
            named[statements] = await offenders(pool)
    assert named == BROKEN
    assert await offenders(tiers_pool) == {}


def test_every_check_can_fail():
    assert {name for named in BROKEN.values() for name in named} == CHECKS


async def test_an_empty_database_is_sound(tiers_pool: Pool):
    checks = [check async for check in verify(tiers_pool, 100, NOW)]
    assert {check.name for check in checks} >= CHECKS
    assert not any(check.offenders for check in checks)


def history(chance: random.Random, customer_id: str) -> list[Event]:
    """Two years of everything that counts, in any order, with repeats and other currencies."""
    return orders(chance, customer_id) + beside_orders(chance, customer_id)


def orders(chance: random.Random, customer_id: str) -> list[Event]:
    """Two years of orders and refunds, by lines and by share, in any order, with repeats and other currencies."""
    events: list[Event] = []
    for number in range(chance.randint(0, 12)):
        order, time = f"o{number}", day(chance.uniform(0, 800))
        parts = [chance.choice(("0.00", "33.33", "180.00", "499.9999")) for _ in range(chance.randint(0, 3))]
        total = f"{sum(round(float(part) * 10_000) for part in parts) / 10_000:.4f}" if parts else "250.00"
        currency = chance.choice(("USD", "USD", "USD", "EUR"))
        lines = tuple((f"l{place}", part) for place, part in enumerate(parts))
        bought = purchase(order, total, time, customer_id=customer_id, currency=currency, lines=lines)
        events += [bought] * chance.choice((1, 1, 1, 2))
        for nth in range(chance.choice((0, 0, 1, 4))):
            given_back = chance.choice(("0.01", "10.00", "200.00"))
            by_line = ((lines[0][0], given_back),) if lines and chance.random() < 0.5 else ()
            later = time + timedelta(days=chance.uniform(-1, 300))
            events.append(
                refund(order, f"r{nth}", given_back, later, customer_id=customer_id, currency=currency, lines=by_line)
            )
    return chance.sample(events, len(events))


def beside_orders(chance: random.Random, customer_id: str) -> list[Event]:
    """Reviews, activities, referrals and points, some of which are taken back."""
    events: list[Event] = []
    for number in range(chance.randint(0, 4)):
        id_, time, later = f"{number}", day(chance.uniform(0, 800)), day(chance.uniform(0, 800))
        events += [review(id_, time, customer_id=customer_id), activity(id_, time, customer_id=customer_id)]
        events += [referral(id_, time, customer_id=customer_id), points(id_, 10, time, customer_id=customer_id)]
        if chance.random() < 0.5:
            events.append(withdrawal(id_, later, customer_id=customer_id))
            events.append(referral(id_, later, customer_id=customer_id, verb="voided"))
            events.append(points(f"r{id_}", chance.choice((3, 15)), later, customer_id=customer_id, verb="reversed"))
    return events


async def test_the_state_that_random_events_leave_is_sound(tiers_pool: Pool):
    chance = random.Random(5)
    events = [event for number in range(90) for event in history(chance, f"c{number}")]
    chance.shuffle(events)
    for start in range(0, len(events), 100):
        await apply(tiers_pool, *events[start : start + 100])
    assert await tiers_pool.fetchval("SELECT count(*) FROM taken WHERE divisor > 1") > 0
    assert await tiers_pool.fetchval("SELECT count(*) FROM reversing") > 20
    assert await offenders(tiers_pool) == {}
