"""`verify` finds every kind of broken state, and no fault in what events, people and time leave."""

import random
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from services.tiers.handlers import assigning, benefits
from services.tiers.handlers import day as sweeping
from services.tiers.handlers.assigning import Given
from services.tiers.handlers.opening import Call
from services.tiers.handlers.rejudging import rejudge
from services.tiers.handlers.verifying import verify
from services.tiers.store import programs
from shared.postgres.pool import Pool
from tests.support.broken import broken
from tests.tiers.applied import apply
from tests.tiers.given import publish, replace_first
from tests.tiers.oracles.written import MEMBER, program, spend, tier
from tests.tiers.shop import day, purchase, refund
from tests.tiers.test_verify import orders

TAKEN = "what was taken of an order is at most its total"
BACK = "reviews and referrals that were taken back count no more"
REVERSED = "no more points were reversed than earned"
REFUNDS = "refunds have their order, and none waits for a recorded one"
CHAIN = "entries of timelines follow from each other"
HISTORY = "the history leads to the current tier"
LAST = "the current tier = the last entry of the timeline"
WARNED = "warnings of tiers at risk were told once, before the end"
RECORDED = "what was taken back = a replay of the events"
REPLAY = "tiers, metrics and timelines = a replay from nothing"
TOLD = "what was published, put together = the timeline"
DUE = "what falls due next is planned"
USES = "benefits were used within their uses"
OWN = [CHAIN, HISTORY, LAST, WARNED, REPLAY, TOLD, DUE, USES]
ALL = [TAKEN, BACK, REVERSED, REFUNDS, CHAIN, HISTORY, LAST, WARNED, RECORDED, REPLAY, TOLD, DUE, USES]

GIFT = {"id": "gift", "kind": "gift", "name": {"en": "Gift"}, "uses": {"count": 2, "per": "period"}}
PROGRAM = program(
    MEMBER,
    tier("silver", spend("100"), points_multiplier="1.25", benefits=[GIFT]),
    tier("gold", spend("300"), points_multiplier="1.5", benefits=[GIFT]),
    at_risk_days=[7, 2],
    grace_days=3,
)
NOW = day(9)


async def live(pool: Pool) -> None:
    """Ann reaches Gold and is warned; Bob falls; Cy is given Silver until a day, and uses a gift."""
    await replace_first(pool, PROGRAM)
    await apply(pool, purchase("3", "150.00", day(-12), customer_id="bob"), now=day(-12))
    await apply(pool, purchase("1", "120.00", day(0)), refund("1", "r", "10.00", day(0.5)), now=day(0.5))
    await apply(pool, purchase("2", "250.00", day(1)), now=day(1))
    await apply(pool, purchase("4", "60.00", day(0.2)), now=day(2))
    await give(pool, "cy", "silver", day(2), until=day(20))
    await use(pool, "cy", "a", day(3))
    await use(pool, "cy", "b", day(4))
    await sweeping.run(pool, NOW)


async def give(pool: Pool, name: str, to: str, now: datetime, until: datetime | None = None) -> None:
    async with pool.acquire() as connection, connection.transaction():
        versions = await programs.load_all(connection)
        await assigning.assign(connection, versions, Call(name, "call", "key:test", now), Given(to, until, False, "n"))


async def use(pool: Pool, name: str, reference: str, now: datetime) -> None:
    async with pool.acquire() as connection, connection.transaction():
        versions = await programs.load_all(connection)
        await benefits.use(connection, versions, Call(name, "call", "key:test", now), "gift", reference)


# Statements that break the database, and the offenders that each check finds then.
BROKEN: Mapping[str, Mapping[str, Sequence[str]]] = {
    "DELETE FROM timeline WHERE customer_id = 'ann' AND tier = 'gold'": {LAST: ["ann"], REPLAY: ["ann"], TOLD: ["ann"]},
    "DELETE FROM timeline WHERE customer_id = 'ann' AND tier = 'silver'": {REPLAY: ["ann"], TOLD: ["ann"]},
    "UPDATE timeline SET tier = 'gold' WHERE customer_id = 'bob' AND tier = 'silver'": {
        CHAIN: ["bob"],
        REPLAY: ["bob"],
        TOLD: ["bob"],
    },
    "UPDATE timeline SET points_multiplier = '2' WHERE customer_id = 'cy'": {REPLAY: ["cy"], TOLD: ["cy"]},
    "UPDATE timeline SET valid_until = valid_until + interval '1 day' WHERE customer_id = 'cy'": {
        LAST: ["cy"],
        REPLAY: ["cy"],
    },
    "UPDATE timeline SET reason = 'orders' WHERE customer_id = 'cy'": {REPLAY: ["cy"]},
    "UPDATE timeline SET effective_at = effective_at + interval '1 second' WHERE customer_id = 'cy'": {
        REPLAY: ["cy"],
        TOLD: ["cy"],
    },
    """INSERT INTO timeline (customer_id, effective_at, tier, points_multiplier)
       VALUES ('zoe', '2026-03-02Z', 'silver', '1.25')""": {LAST: ["zoe"]},
    "UPDATE customer SET tier = 'silver' WHERE customer_id = 'ann'": {HISTORY: ["ann"], LAST: ["ann"], REPLAY: ["ann"]},
    "UPDATE customer SET since = since + interval '1 second' WHERE customer_id = 'ann'": {REPLAY: ["ann"]},
    "UPDATE customer SET due_at = due_at + interval '1 second' WHERE customer_id = 'ann'": {DUE: ["ann"]},
    "UPDATE customer SET due_at = NULL, warn_at = NULL WHERE customer_id = 'cy'": {DUE: ["cy"]},
    "UPDATE customer SET state = replace(state::text, '4200000', '4200001')::json WHERE customer_id = 'ann'": {
        REPLAY: ["ann"]
    },
    "UPDATE customer SET state = NULL WHERE customer_id = 'bob'": {REPLAY: ["bob"]},
    "UPDATE customer SET state = '{}' WHERE customer_id = 'bob'": {REPLAY: ["bob"], DUE: ["bob"], USES: ["bob"]},
    "UPDATE purchase SET total = 20 WHERE order_id = '2'": {REPLAY: ["ann"]},
    "DELETE FROM purchase WHERE order_id = '3'": {REPLAY: ["bob"]},
    "DELETE FROM assignment": {REPLAY: ["cy"]},
    "UPDATE assignment SET until = until + interval '1 day'": {REPLAY: ["cy"]},
    "DELETE FROM tier_change WHERE customer_id = 'ann' AND to_tier = 'silver'": {TOLD: ["ann"]},
    "DELETE FROM tier_change WHERE customer_id = 'ann' AND to_tier = 'gold'": {HISTORY: ["ann"], TOLD: ["ann"]},
    "UPDATE tier_change SET timeline = replace(timeline::text, '1.5', '1.25')::json WHERE customer_id = 'ann'": {
        TOLD: ["ann"]
    },
    "DELETE FROM at_risk": {DUE: ["ann"]},
    "UPDATE at_risk SET told_at = valid_until": {WARNED: ["ann/7"]},
    """ALTER TABLE at_risk DROP CONSTRAINT at_risk_pkey;
       INSERT INTO at_risk SELECT * FROM at_risk""": {WARNED: ["ann/7"]},
    "UPDATE benefit_use SET uses_left = 1 WHERE reference = 'b'": {USES: ["cy"]},
    "UPDATE benefit_use SET tier = 'member' WHERE reference = 'b'": {USES: ["cy"]},
    "INSERT INTO benefit_use VALUES ('cy', 'gift', 'c', '2026-03-06Z', 0, 'silver', 1, 'key:test')": {USES: ["cy"]},
    "UPDATE waiting SET about = 'order/3'": {REFUNDS: ["bob/3/refund/r"]},
}


async def offenders(pool: Pool, now: datetime = NOW) -> dict[str, list[str]]:
    """The offenders by check, where there are any."""
    return {check.name: sorted(check.offenders) async for check in verify(pool, 1000, now) if check.offenders}


async def test_every_kind_of_broken_state_is_found(tiers_pool: Pool):
    await live(tiers_pool)
    await apply(tiers_pool, refund("5", "r", "1.00", day(3), customer_id="bob"), now=NOW)
    assert await offenders(tiers_pool) == {}
    named: dict[str, Mapping[str, Sequence[str]]] = {}
    for statements in BROKEN:
        async with broken(tiers_pool, statements) as pool:
            named[statements] = await offenders(pool)
    assert named == BROKEN
    assert await offenders(tiers_pool) == {}


def test_every_check_of_judging_can_fail():
    assert {name for named in BROKEN.values() for name in named} >= set(OWN)


async def test_an_empty_database_is_sound(tiers_pool: Pool):
    assert [(check.name, check.offenders) async for check in verify(tiers_pool, 100, NOW)] == [
        (name, []) for name in ALL
    ]


async def test_the_state_that_random_events_leave_is_sound(tiers_pool: Pool):
    chance = random.Random(5)
    await replace_first(tiers_pool, PROGRAM)
    full = program(MEMBER, tier("silver", spend("90")), tier("gold", spend("280")), at_risk_days=[5], on_publish="full")
    at_once = program(when="at_once", to="earned", on_publish="full")
    await publish(tiers_pool, (day(300), at_once), (day(600), full))
    events = [event for number in range(60) for event in orders(chance, f"c{number}")]
    chance.shuffle(events)
    for start in range(0, len(events), 100):
        now = day(chance.uniform(0, 900))
        await apply(tiers_pool, *events[start : start + 100], now=now)
        for number in chance.sample(range(60), 3):
            await give(tiers_pool, f"c{number}", chance.choice(("member", "silver", "gold")), now)
        await sweeping.run(tiers_pool, now + timedelta(days=chance.uniform(-100, 100)))
        assert await offenders(tiers_pool, now) == {}
    await rejudge(tiers_pool, day(1000))
    bought = [purchase("new", "150.00", day(1000), customer_id=f"c{number}") for number in range(9)]
    await apply(tiers_pool, *bought, now=day(1000))
    await sweeping.run(tiers_pool, day(1007))
    assert await tiers_pool.fetchval("SELECT count(*) FROM timeline") > 50
    assert await tiers_pool.fetchval("SELECT count(*) FROM at_risk WHERE told_at IS NOT NULL") > 0
    kinds = {row["kind"] for row in await tiers_pool.fetch("SELECT DISTINCT kind FROM tier_change")}
    assert kinds == {"promoted", "demoted", "retained", "corrected"}
    assert await offenders(tiers_pool, day(1007)) == {}
