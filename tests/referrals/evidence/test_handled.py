"""Signals from the events to the states of referrals, through the handler of the worker."""

from collections.abc import Sequence
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from services.referrals.handlers import knowing
from services.referrals.handlers.day import sweep
from services.referrals.handlers.events import handle
from services.referrals.rules.codes.code import SYMBOLS, with_check
from services.referrals.rules.evidence.keys import EvidenceKey
from services.referrals.store import codes
from shared.contracts.envelope import Event
from shared.postgres.pool import Pool
from tests.referrals.conftest import published
from tests.referrals.evidence.told import KEY, registered, signed_up, updated
from tests.referrals.shop import START, bought, event
from tests.referrals.versions import publish

PEOPLE = {
    name: with_check(f"{SYMBOLS[place]}2345678") for place, name in enumerate(("ada", "ben", "cem", "dan", "eve"))
}
LATER = START + timedelta(hours=400)

STATES_SQL = """
SELECT advocate_id, friend_id, state, reason, score, signals::text AS signals FROM referral ORDER BY number
"""
EMPTY_SQL = "TRUNCATE referral, referral_step, advocate, evidence, sign_up_trace, customer_registered, purchase, outbox"


@pytest.fixture
async def people(referrals_pool: Pool) -> Pool:
    """Everybody has a code."""
    async with referrals_pool.acquire() as connection:
        for name, code in PEOPLE.items():
            await codes.add_code(connection, name, code, START)
    return referrals_pool


async def apply(pool: Pool, *events: Event, key: EvidenceKey | None = KEY) -> None:
    async with pool.acquire() as connection, connection.transaction():
        assert await handle(connection, events, LATER, key) == []


async def states(pool: Pool) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await pool.fetch(STATES_SQL)]


def joins(friend: str, advocate: str, hours: float = 0, **fields: Any) -> Event:
    return signed_up(friend, hours, PEOPLE[advocate], **fields)


async def test_a_block_rejects_at_the_sign_up_with_its_signals(people: Pool):
    await publish(people, signals=[{"id": "same_device", "action": "block"}, {"id": "same_ip", "action": "flag"}])
    both = {"device_id": "d", "ip": "203.0.113.9"}
    await apply(people, registered("ada", **both), joins("fay", "ada", **both), joins("gus", "ada", ip=both["ip"]))
    (fay, gus) = await published(people)
    assert (fay["type"], fay["data"]["reason"]) == ("loyalty.referral.rejected.v1", "fraud")
    assert fay["data"]["signals"] == ["same_device", "same_ip"]
    assert gus["type"] == "loyalty.referral.signed_up.v1"
    await apply(people, bought("gus", "o", 1))
    assert [item["type"].split(".")[2] for item in (await published(people))[2:]] == ["qualified", "flagged"]


async def test_evidence_that_came_after_the_sign_up_is_found_at_the_order_and_at_the_approval(people: Pool):
    await publish(people, signals=[{"id": "same_device", "action": "block"}], hold_days=20)
    await apply(people, joins("fay", "ada", device_id="d"), joins("gus", "ada", device_id="e"))
    await apply(people, bought("gus", "o", 1), updated("ada", 2, device_id="d"))
    assert [row[2] for row in await states(people)] == ["signed_up", "qualified"]
    await apply(people, bought("fay", "o", 1), updated("ada", 2, device_id="e"))
    assert [row[2] for row in await states(people)] == ["rejected", "qualified"]
    await sweep(people, START + timedelta(days=22), KEY)
    assert [row[2:4] for row in await states(people)] == [("rejected", "fraud")] * 2


async def test_a_ring_in_one_batch_stops_with_the_sign_up_that_closes_it(people: Pool):
    await publish(people, signals=[{"id": "circle", "action": "block"}])
    await apply(people, joins("ben", "ada"), joins("cem", "ben"), joins("dan", "cem"), joins("ada", "dan"))
    assert [row[2] for row in await states(people)] == ["signed_up"] * 3 + ["rejected"]


async def test_without_a_key_the_signals_that_compare_never_hold(people: Pool):
    await publish(people, signals=[{"id": "same_device", "action": "block"}])
    await apply(people, registered("ada", device_id="d"), joins("fay", "ada", device_id="d"), key=None)
    assert [row[2] for row in await states(people)] == ["signed_up"]


async def with_code(pool: Pool, count: int, **told: Any) -> list[str]:
    """The codes of so many advocates, who told the same."""
    given_out = [with_check(f"23{symbol}45678") for symbol in SYMBOLS[:count]]
    async with pool.acquire() as connection:
        for code in given_out:
            await codes.add_code(connection, f"owner of {code}", code, START)
    await apply(pool, *(registered(f"owner of {code}", **told) for code in given_out))
    return given_out


async def test_a_friend_may_try_many_codes_in_one_batch(people: Pool, monkeypatch: pytest.MonkeyPatch):
    await publish(people, signals=[{"id": "same_device", "action": "block"}])
    given_out = await with_code(people, 12, device_id="d")
    reads = 0

    async def counted(*arguments: Any) -> Any:
        nonlocal reads
        reads += 1
        return await learn(*arguments)

    learn = knowing.learn
    monkeypatch.setattr(knowing, "learn", counted)
    await apply(people, *(signed_up("fay", place, code, device_id="d") for place, code in enumerate(given_out)))
    assert [row[2:4] for row in await states(people)] == [("rejected", "fraud")] * 12
    assert reads == 1, "the facts about all of them are read at once"


async def test_a_friend_may_be_stopped_at_many_orders_in_one_batch(people: Pool):
    signals = [{"id": "same_device", "action": "block"}, {"id": "already_bought", "action": "off"}]
    await publish(people, signals=signals)
    given_out = await with_code(people, 12)
    await apply(people, *(updated(f"owner of {code}", device_id=code) for code in given_out))
    events: list[Event] = []
    for hours, code in enumerate(given_out):
        # Each order is the first judgement that knows the advocate's device, and the next sign-up depends on it.
        events += [signed_up("fay", hours, code), updated("fay", hours, device_id=code), bought("fay", code, hours)]
    await apply(people, *events)
    assert [row[2:4] for row in await states(people)] == [("rejected", "fraud")] * 12
    assert len([item for item in await published(people) if item["type"].endswith(".qualified.v1")]) == 12


def a_year(random: Random) -> list[Event]:
    """Sign-ups, orders and profiles of a few customers, who bring one another and share values."""
    events: list[Event] = []
    friends = [*PEOPLE, *(f"f{number}" for number in range(12))]
    for number in range(90):
        customer, hours = random.choice(friends), random.randrange(-60, 60)
        told = {
            name: value
            for name, value in {
                "email": random.choice(["ada@example.org", "adas@example.org", "x@mailinator.com"]),
                "device_id": random.choice("abcd"),
                "ip": f"8.8.{random.randrange(3)}.{random.randrange(2)}",
            }.items()
            if random.random() < 0.5
        }
        match random.randrange(5):
            case 0:
                events.append(updated(customer, hours, **told))
            case 1:
                events.append(registered(customer, hours, **told))
            case 2:
                total = random.choice(["20.50", "40.00"])
                events.append(bought(customer, f"o{number}", hours + 40, total))
            case _:
                events.append(joins(customer, random.choice([*PEOPLE]), hours, **told))
    return events


SIGNALS: Sequence[dict[str, Any]] = [
    *(
        {"id": id_, "action": "score", "weight": 20}
        for id_ in ("same_email", "similar_email", "same_device", "same_ip")
    ),
    *({"id": id_, "action": "score", "weight": 30, "threshold": 2} for id_ in ("ip_velocity", "many_networks")),
    {"id": "advocate_velocity_day", "action": "score", "weight": 10, "threshold": 2},
    {"id": "already_customer", "action": "score", "weight": 5, "threshold": 2},
    {"id": "fast_cycle", "action": "flag", "weight": 7, "threshold": 9_000},
    {"id": "circle", "action": "score", "weight": 40},
    {"id": "disposable_email", "action": "flag"},
    {"id": "threshold_order", "action": "score", "weight": 3},
    {"id": "already_bought", "action": "score", "weight": 1},
]


@pytest.mark.parametrize("seed", range(3))
async def test_the_size_of_batches_makes_no_difference_with_signals(people: Pool, seed: int):
    await publish(people, signals=SIGNALS, hold_days=1)
    events = a_year(Random(seed))
    await apply(people, *events)
    at_once = await states(people)
    for size in (1, 7):
        await people.execute(EMPTY_SQL)
        for start in range(0, len(events), size):
            await apply(people, *events[start : start + size])
        assert [row[:5] for row in await states(people)] == [row[:5] for row in at_once]
    assert {row[2] for row in at_once} >= {"approved", "rejected", "flagged", "signed_up"}
    found = " ".join(row[5] or "" for row in at_once)
    missing = {signal["id"] for signal in SIGNALS if signal["id"] not in found}
    assert len(missing) <= 2, "each history finds nearly every signal"


async def test_an_erasure_erases_evidence_in_the_transaction_of_its_batch(people: Pool):
    erased = event("shop.customer.erased.v1", 1, {"customer_id": "fay"})
    await apply(people, registered("fay", device_id="d"), joins("fay", "ada", ip="203.0.113.9"), erased)
    await apply(people, updated("fay", 0.5, device_id="d"))
    assert await people.fetchval("SELECT count(*) FROM evidence") == 0
    assert await people.fetchval("SELECT count(*) FROM customer_registered") == 0
    assert await people.fetchval("SELECT count(*) FROM sign_up_trace WHERE ip IS NULL") == 1
