"""`verify` finds every kind of broken state, and no fault in what events leave."""

import random
from collections.abc import Mapping, Sequence
from datetime import timedelta

import pytest

from services.tiers.handlers.verifying import verify
from services.tiers.rules import curve, customer, rejudging
from shared.contracts.envelope import Event
from shared.postgres.pool import Pool
from tests.support.broken import broken
from tests.tiers.applied import NOW, apply
from tests.tiers.shop import day, purchase, refund

TIMELINES = "timelines rise, one entry an instant"
LAST = "the current tier = the last entry of the timeline"
JUDGED = "the times of judging = the last order and refund"
SPEND = "spend = the money kept within the window"
KEPT = "the money kept = the total less refunds"
REFUNDS = "refunds have their order, and none waits for a recorded one"
HISTORY = "the history leads to the current tier"
ANNOUNCED = "every entry of a timeline was announced"
REPLAY = "timeline, spend and the money kept = a replay of the events"
ALL = [TIMELINES, LAST, JUDGED, SPEND, KEPT, REFUNDS, HISTORY, ANNOUNCED, REPLAY]

# Ann reaches Silver, returns a part and reaches Gold; Bob buys little, in two currencies.
LIFE = (
    purchase("1", "600.00", day(0), lines=(("a", "300.00"), ("b", "300.00"))),
    refund("1", "r", "20.00", day(1)),
    refund("1", "s", "30.00", day(2), lines=(("a", "30.00"),)),
    purchase("2", "1000.00", day(3)),
    purchase("3", "10.00", day(2), customer_id="bob"),
    refund("3", "r", "1.00", day(2.5), customer_id="bob"),
    purchase("4", "900.00", day(3), customer_id="bob", currency="EUR"),
    refund("5", "r", "1.00", day(3), customer_id="bob"),
)

# Statements that break the database, and the offenders that each check finds then.
BROKEN: Mapping[str, Mapping[str, Sequence[str]]] = {
    "DELETE FROM timeline WHERE tier = 'gold'": {LAST: ["ann"], REPLAY: ["ann"]},
    "DELETE FROM timeline WHERE tier = 'silver'": {REPLAY: ["ann"]},
    "UPDATE timeline SET tier = 'gold' WHERE tier = 'silver'": {TIMELINES: ["ann"], REPLAY: ["ann"]},
    "UPDATE timeline SET tier = 'tin' WHERE tier = 'silver'": {TIMELINES: ["ann"], REPLAY: ["ann"]},
    "INSERT INTO timeline VALUES ('bob', '2026-04-01Z', 'member')": {
        TIMELINES: ["bob"],
        LAST: ["bob"],
        ANNOUNCED: ["bob"],
        REPLAY: ["bob"],
    },
    "INSERT INTO timeline VALUES ('zoe', '2026-04-01Z', 'silver')": {LAST: ["zoe"], ANNOUNCED: ["zoe"]},
    """ALTER TABLE timeline DROP CONSTRAINT timeline_pkey;
       INSERT INTO timeline SELECT customer_id, effective_at, 'silver' FROM timeline WHERE tier = 'gold';
       DELETE FROM timeline WHERE effective_at < '2026-03-02Z'""": {TIMELINES: ["ann"], REPLAY: ["ann"]},
    "UPDATE customer SET tier = 'silver' WHERE customer_id = 'ann'": {LAST: ["ann"], HISTORY: ["ann"], REPLAY: ["ann"]},
    "UPDATE customer SET since = since + interval '1 second'": {LAST: ["ann"], REPLAY: ["ann"]},
    "UPDATE customer SET judged_at = judged_at + interval '1 day' WHERE customer_id = 'bob'": {
        JUDGED: ["bob"],
        REPLAY: ["bob"],
    },
    "UPDATE customer SET spend = spend + 0.0001 WHERE customer_id = 'bob'": {SPEND: ["bob"], REPLAY: ["bob"]},
    "UPDATE purchase SET kept = kept - 1 WHERE order_id = '2'": {SPEND: ["ann"], KEPT: ["ann/2"], REPLAY: ["ann"]},
    "UPDATE purchase SET kept = kept - 1 WHERE order_id = '1'": {SPEND: ["ann"], KEPT: ["ann/1"], REPLAY: ["ann"]},
    "UPDATE purchase SET kept = kept + 1 WHERE order_id = '1'": {SPEND: ["ann"], REPLAY: ["ann"]},
    "UPDATE purchase SET kept = 899.99 WHERE currency = 'EUR'": {KEPT: ["bob/4"], REPLAY: ["bob"]},
    "UPDATE purchase SET total = 1500, kept = 1500 WHERE order_id = '3'": {
        SPEND: ["bob"],
        KEPT: ["bob/3"],
        REPLAY: ["bob"],
    },
    "DELETE FROM purchase WHERE order_id = '3'": {
        JUDGED: ["bob"],
        SPEND: ["bob"],
        REFUNDS: ["bob/3/r"],
        REPLAY: ["bob"],
    },
    "DELETE FROM refund WHERE customer_id = 'bob'": {JUDGED: ["bob"], KEPT: ["bob/3"], REPLAY: ["bob"]},
    """UPDATE refund SET lines = '[["a", "3.00"]]' WHERE refund_id = 's'""": {REPLAY: ["ann"]},
    """UPDATE refund SET lines = '[["c", "30.00"]]' WHERE refund_id = 's'""": {REPLAY: ["ann"]},
    "UPDATE loose_refund SET amount = -19 WHERE amount = -20": {REPLAY: ["ann"]},
    "DELETE FROM loose_refund WHERE customer_id = 'bob'": {REPLAY: ["bob"]},
    "UPDATE waiting SET about = 'order/3'": {REFUNDS: ["bob/3/refund/r"]},
    "DELETE FROM tier_change WHERE to_tier = 'silver'": {HISTORY: ["ann"], ANNOUNCED: ["ann"]},
    "DELETE FROM tier_change WHERE to_tier = 'gold'": {HISTORY: ["ann"]},
    """ALTER TABLE tier_change DROP CONSTRAINT tier_change_moves;
       UPDATE tier_change SET kind = 'demoted' WHERE to_tier = 'gold'""": {HISTORY: ["ann"]},
    "UPDATE tier_change SET effective_at = effective_at + interval '1 second' WHERE to_tier = 'silver'": {
        ANNOUNCED: ["ann"]
    },
}


async def offenders(pool: Pool) -> dict[str, list[str]]:
    """The offenders by check, where there are any."""
    return {check.name: check.offenders async for check in verify(pool, 1000, NOW) if check.offenders}


async def test_every_kind_of_broken_state_is_found(tiers_pool: Pool):
    for event in LIFE:
        await apply(tiers_pool, event)
    assert await offenders(tiers_pool) == {}
    named: dict[str, Mapping[str, Sequence[str]]] = {}
    for statements in BROKEN:
        async with broken(tiers_pool, statements) as pool:
            named[statements] = await offenders(pool)
    assert named == BROKEN
    assert await offenders(tiers_pool) == {}


async def test_a_broken_curve_is_found(tiers_pool: Pool, monkeypatch: pytest.MonkeyPatch):
    for module in (customer, rejudging):
        monkeypatch.setattr(module, "MOST_LOOSE", 2)
    monkeypatch.setattr(curve, "MOST_CHANGES", 2)
    for event in LIFE:
        await apply(tiers_pool, event)
    assert await offenders(tiers_pool) == {}
    for statements in (
        "DELETE FROM spend_curve WHERE bits = 48",
        "UPDATE spend_curve SET content = replace(content::text, '6000000', '6000001')::json WHERE NOT is_leaf",
        "UPDATE spend_curve SET content = replace(content::text, '6000000', '6000001')::json WHERE is_leaf",
    ):
        async with broken(tiers_pool, statements) as pool:
            assert await offenders(pool) == {REPLAY: ["ann"]}, statements


def test_every_check_can_fail():
    assert {name for named in BROKEN.values() for name in named} == set(ALL)


async def test_an_empty_database_is_sound(tiers_pool: Pool):
    assert [(check.name, check.offenders) async for check in verify(tiers_pool, 100, NOW)] == [
        (name, []) for name in ALL
    ]


def history(chance: random.Random, customer_id: str) -> list[Event]:
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


async def test_the_state_that_random_events_leave_is_sound(tiers_pool: Pool):
    chance = random.Random(5)
    events = [event for number in range(90) for event in history(chance, f"c{number}")]
    chance.shuffle(events)
    for start in range(0, len(events), 100):
        await apply(tiers_pool, *events[start : start + 100])
    assert await tiers_pool.fetchval("SELECT count(*) FROM timeline") > 50
    assert await tiers_pool.fetchval("SELECT count(*) FROM purchase WHERE kept_divisor > 1") > 0
    assert await tiers_pool.fetchval("SELECT count(*) FROM tier_change WHERE kind = 'corrected'") > 0
    assert await offenders(tiers_pool) == {}
