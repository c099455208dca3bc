"""What events tell, stored as hashes: compared, forgotten, erased."""

from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from services.referrals.handlers import evidence
from services.referrals.rules.evidence.kinds import Kind
from services.referrals.rules.signals import Facts
from shared.contracts.envelope import Event
from shared.messaging import erasure
from shared.postgres.pool import Pool
from tests.referrals.evidence.documents import every_signal, program
from tests.referrals.evidence.told import (
    KEY,
    asked,
    facts_now,
    facts_of,
    in_batches,
    registered,
    signed_up,
    store,
    updated,
)
from tests.referrals.shop import START, at, event
from tests.support.counting import Counting

EVERY = every_signal()
YEARS = timedelta(days=400)
IP = {"ip": "203.0.113.9"}
AGENT = IP | {"user_agent": "Mozilla/5.0"}


async def same(pool: Pool, *events: Event) -> frozenset[str]:
    """The signals of equal values, after these events and a sign-up of fay with the code of ada."""
    await store(pool, *events)
    return (await facts_now(pool, EVERY, signed_up("fay"))).same


@pytest.mark.parametrize(
    ("advocate", "friend", "signals"),
    [
        ({"email": "ada@example.org"}, {"email": "ADA+x@example.org"}, {"same_email"}),
        ({"email": "ada@example.org"}, {"email": "bea@example.org"}, set()),
        ({"phone": "+966501234567"}, {"phone": "+966 50 123 4567"}, {"same_phone"}),
        ({"payment_fingerprint": "p"}, {"payment_fingerprint": " p "}, {"same_payment"}),
        ({"device_id": "d"}, {"device_id": "d"}, {"same_device"}),
        ({"device_id": "d"}, {"device_id": "D"}, set()),
        (IP, IP, {"same_ip"}),
        (IP, {"ip": "::ffff:203.0.113.9"}, {"same_ip"}),
        (IP, {"ip": "203.0.113.8"}, set()),
        ({"ip": "2a00:1450:1:1::1"}, {"ip": "2a00:1450:1:1:9::"}, {"same_ip"}),
        ({"ip": "2a00:1450:1:1::1"}, {"ip": "2a00:1450:1:2::1"}, set()),
        ({"ip": "10.0.0.1"}, {"ip": "10.0.0.1"}, set()),
        (AGENT, AGENT, {"same_ip", "same_ip_and_agent"}),
        (AGENT, IP | {"user_agent": "Other"}, {"same_ip"}),
        (AGENT, {"ip": "203.0.113.8", "user_agent": "Mozilla/5.0"}, set()),
        ({"user_agent": "Mozilla/5.0"}, {"user_agent": "Mozilla/5.0"}, set()),
        ({"device_id": "unknown"}, {"device_id": "unknown"}, set()),
        ({"device_id": " "}, {"device_id": " "}, set()),
        ({}, {}, set()),
    ],
)
async def test_both_sides_tell_by_every_event(
    referrals_pool: Pool, advocate: dict[str, Any], friend: dict[str, Any], signals: set[str]
):
    """The advocate tells by a registration or update, the friend by a sign-up or a registration."""
    assert await same(referrals_pool, registered("ada", **advocate), signed_up("fay", **friend)) == signals
    await referrals_pool.execute("TRUNCATE evidence, sign_up_trace")
    assert await same(referrals_pool, updated("ada", **advocate), registered("fay", **friend)) == signals


async def test_names_are_of_profiles(referrals_pool: Pool):
    assert await same(referrals_pool, updated("ada", name="Ada Lovelace")) == set()
    assert await same(referrals_pool, updated("fay", name="ADA  lovelace")) == {"same_name"}


async def test_only_hashes_and_encrypted_local_parts_are_stored(referrals_pool: Pool):
    fields = AGENT | {"email": "ada.lovelace@example.org", "phone": "+966501234567", "name": "Ada Lovelace"}
    await store(referrals_pool, registered("ada", **fields, country="SA", device_id="device-1"), signed_up("fay", **IP))
    rows = await referrals_pool.fetch("SELECT evidence::text AS row FROM evidence")
    rows += await referrals_pool.fetch("SELECT sign_up_trace::text AS row FROM sign_up_trace")
    assert len(rows) == 12
    stored = "".join(row["row"] for row in rows)
    for secret in ("ada.l", "lovelace", "example", "966", "203.0", "SA", "Mozilla", "device-1"):
        assert secret not in stored
        assert secret.encode().hex() not in stored


@pytest.mark.parametrize(
    ("events", "is_same"),
    [
        ([updated("fay", phone="0501234567", country="SA")], True),
        ([updated("fay", country="sa"), updated("fay", phone="0501234567")], True),
        ([updated("fay", country="SA"), signed_up("fay", phone="050 123 4567")], True),
        ([updated("fay", country="SA"), updated("fay", country=None), signed_up("fay", phone="0501234567")], True),
        ([updated("fay", country="AE"), signed_up("fay", phone="0501234567")], False),
        ([updated("fay", country="AE"), updated("fay", country="SA", phone="0501234567")], True),
        ([updated("fay", country="XX", phone="0501234567")], False),
        ([signed_up("fay", phone="0501234567")], False),
        ([signed_up("fay", phone="0501234567"), updated("fay", country="SA")], False),
        ([updated("bea", country="SA"), signed_up("fay", phone="0501234567")], False),
    ],
)
@pytest.mark.parametrize("is_one_batch", [True, False])
async def test_national_numbers_are_read_by_the_country(
    referrals_pool: Pool, events: list[Event], *, is_same: bool, is_one_batch: bool
):
    await store(referrals_pool, updated("ada", phone="+966501234567"))
    for batch in [events] if is_one_batch else [[each] for each in events]:
        await store(referrals_pool, *batch)
    assert (await facts_now(referrals_pool, EVERY, signed_up("fay"))).same == ({"same_phone"} if is_same else set())


async def test_similar_addresses(referrals_pool: Pool):
    await store(referrals_pool, updated("ada", email="abcdefghij@example.org"))
    await store(referrals_pool, signed_up("fay", email="abcdefghi@example.org"))
    assert (await facts_now(referrals_pool, EVERY, signed_up("fay"))).similarity * 10 == 9
    strict = program({"id": "similar_email", "threshold": "0.95"})
    assert (await facts_now(referrals_pool, strict, signed_up("fay"))).similarity == 0
    assert await facts_of(referrals_pool, program(), asked(signed_up("fay"))) == [Facts()]


async def test_each_value_of_the_last_400_days_counts(referrals_pool: Pool):
    """Also a value that another replaced, to the microsecond."""
    await store(referrals_pool, updated("ada", device_id="d"), updated("ada", device_id="e"))
    await store(referrals_pool, updated("ada", device_id=None), signed_up("fay", device_id="d"))
    sign_up = signed_up("fay")
    assert (await facts_now(referrals_pool, EVERY, sign_up, START + YEARS)).same == {"same_device"}
    late = START + YEARS + timedelta(microseconds=1)
    assert (await facts_now(referrals_pool, EVERY, sign_up, late)).same == set()
    await store(referrals_pool, updated("ada", 1, device_id="d"), updated("fay", 2, device_id="d"), now=late)
    assert (await facts_now(referrals_pool, EVERY, sign_up, at(1) + YEARS)).same == {"same_device"}
    assert (await facts_now(referrals_pool, EVERY, sign_up, at(1.1) + YEARS)).same == set()


async def test_what_is_older_is_not_stored_and_is_forgotten(referrals_pool: Pool):
    now = START + YEARS
    await store(referrals_pool, updated("ada", -0.001, device_id="old"), updated("ada", device_id="new"), now=now)
    assert await referrals_pool.fetchval("SELECT count(*) FROM evidence") == 1
    await store(referrals_pool, signed_up("fay", **IP), now=START)
    await evidence.forget(referrals_pool, now)
    assert await referrals_pool.fetchval("SELECT count(*) FROM evidence") == 3
    await evidence.forget(referrals_pool, now + timedelta(microseconds=1))
    assert await referrals_pool.fetchval("SELECT count(*) FROM evidence") == 0
    assert await referrals_pool.fetchval("SELECT count(*) FROM sign_up_trace") == 0


async def test_the_registration_is_the_earliest_and_is_not_forgotten(referrals_pool: Pool):
    now = START + 3 * YEARS
    await store(referrals_pool, registered("fay", 5), registered("fay", 2), registered("ada", 9), now=now)
    await store(referrals_pool, registered("fay", 3), updated("ada", 1), now=now)
    await evidence.forget(referrals_pool, now)
    facts = await facts_now(referrals_pool, EVERY, signed_up("fay", 10), now)
    assert (facts.customer_for, facts.advocate_for) == (timedelta(hours=8), timedelta(hours=1))
    facts = await facts_now(referrals_pool, EVERY, signed_up("bea", 10), now)
    assert facts.customer_for is None


@pytest.mark.parametrize("field", ["device_id", "email", "ip", "payment_fingerprint", "phone", "name"])
async def test_a_value_that_more_than_fifty_customers_share_is_none(referrals_pool: Pool, field: str):
    value = {"email": "all@example.org", "ip": "203.0.113.9", "phone": "+966501234567"}.get(field, "everybody")
    crowd = [updated(f"c{number}", **{field: value}) for number in range(48)]
    signal = {"payment_fingerprint": "same_payment"}.get(field, f"same_{field.removesuffix('_id')}")
    sides = updated("ada", **{field: value}), updated("fay", **{field: value})
    assert await same(referrals_pool, *crowd, *sides) == {signal}
    marks = await store(referrals_pool, updated("one more", **{field: value}))
    assert (await facts_now(referrals_pool, EVERY, signed_up("fay"))).same == set()
    assert (await facts_now(referrals_pool, EVERY, signed_up("fay"))).similarity == 0
    (before,) = await facts_of(referrals_pool, EVERY, asked(signed_up("fay"), marks.at(-1)))
    assert before.same == {signal}


def a_life(random: Random) -> list[Event]:
    """Events of a few customers who share values, in an order that a shop could publish."""
    events: list[Event] = []
    for _ in range(60):
        customer = random.choice(["ada", "ben", "fay", "gus", "hal"])
        fields = {
            "email": random.choice(["ada@example.org", "adas@example.org", "x@example.com"]),
            "phone": random.choice(["+966501234567", "0501234567"]),
            "device_id": random.choice("abc"),
            "ip": f"203.0.{random.randrange(3)}.{random.randrange(2)}",
        }
        told = {name: value for name, value in fields.items() if random.random() < 0.4}
        hours = random.randrange(-300, 1)
        kind = random.choice([registered, updated, signed_up, signed_up])
        if kind is signed_up:
            events.append(signed_up(f"{customer}{len(events)}", hours, random.choice(["ADA", "BEN"]), **told))
        elif random.random() < 0.3:
            events.append(kind(customer, hours, country="SA", **told))
        else:
            events.append(kind(f"{customer}{len(events) + random.randrange(3)}", hours, **told))
            events.append(updated(customer, hours, **told))
    return events


@pytest.mark.parametrize("seed", range(4))
async def test_facts_do_not_depend_on_batches(referrals_pool: Pool, seed: int):
    events = a_life(Random(seed))
    at_once = await in_batches(referrals_pool, EVERY, [events])
    await referrals_pool.execute("TRUNCATE evidence, sign_up_trace, customer_registered")
    singly = await in_batches(referrals_pool, EVERY, [[each] for each in events])
    assert [replace(facts, edges={}) for facts in at_once] == singly
    assert any(facts.same for facts in singly)
    assert any(facts.friends_of_ip > 1 for facts in singly)
    assert any(facts.networks > 1 for facts in singly)


async def test_an_erasure_takes_what_was_told_before_it_and_lets_nothing_of_it_come_back(referrals_pool: Pool):
    await store(referrals_pool, registered("fay", device_id="d", country="SA"), updated("ada", device_id="d"))
    await store(referrals_pool, signed_up("fay", 1, **IP), signed_up("gus", 1, **IP), updated("fay", 3, device_id="e"))
    erased = event("shop.customer.erased.v1", 2, {"customer_id": "fay"})
    async with referrals_pool.acquire() as connection, connection.transaction():
        await erasure.apply(connection, [erased], evidence.erase, START)
    kinds = await referrals_pool.fetch("SELECT kind, hash FROM evidence WHERE customer_id = 'fay'")
    assert [(row["kind"], row["hash"].bytes) for row in kinds] == [(Kind.DEVICE, KEY.hash(Kind.DEVICE, "e"))]
    assert await referrals_pool.fetchval("SELECT count(*) FROM customer_registered WHERE customer_id = 'fay'") == 0
    traces = await referrals_pool.fetch(
        "SELECT friend_id FROM sign_up_trace WHERE ip IS NOT NULL OR network IS NOT NULL"
    )
    assert [row["friend_id"] for row in traces] == ["gus"]
    await store(referrals_pool, registered("fay", device_id="d", country="SA"), signed_up("fay", 2, "BEN", **IP))
    facts = await facts_now(referrals_pool, EVERY, signed_up("fay", 2, "ADA"))
    assert (facts.same, facts.customer_for, facts.friends_of_ip) == (set(), None, 0)
    assert await referrals_pool.fetchval("SELECT count(*) FROM evidence WHERE customer_id = 'fay'") == 1
    assert (await facts_now(referrals_pool, EVERY, signed_up("fay", 2, "BEN"))).friends_of_ip == 0
    await store(referrals_pool, registered("fay", 4, device_id="d"))
    assert (await facts_now(referrals_pool, EVERY, signed_up("fay"))).same == {"same_device"}


async def test_without_a_key_only_registrations_and_sign_ups_are_stored(referrals_pool: Pool):
    await store(referrals_pool, registered("ada", **AGENT), signed_up("fay", **AGENT), key=None)
    assert await referrals_pool.fetchval("SELECT count(*) FROM evidence") == 0
    (facts,) = await facts_of(referrals_pool, EVERY, asked(signed_up("fay")), key=None)
    assert (facts.friends_in_day, facts.friends_of_ip, facts.networks) == (1, 0, 0)
    assert facts.advocate_for == timedelta(0)


HOSTILE: list[str] = [
    *("", " ", "\t", "@", "a@", "@b", "+", "++", "::", ":::", "0", "\x01", "\u202e"),
    *(
        "\ufdfa" * 400,
        "a@" + "b." * 4_900,
        "+" + "9" * 9_000,
        "1" * 10_000,
        "::" * 5_000,
        "%s%d{}",
        "'; DROP TABLE evidence",
    ),
    *(
        "a" * 64 + "@" + "b" * 250,
        "xn--@xn--",
        "a@xn--\u00fc.example",
        "a@\u2024.org",
        "\x1f",
        "a\x1fb",
        "fe80::1%z",
    ),
]


@pytest.mark.parametrize("is_one_batch", [True, False])
async def test_nothing_that_a_customer_tells_is_refused(referrals_pool: Pool, *, is_one_batch: bool):
    fields = ("email", "phone", "device_id", "ip", "user_agent", "payment_fingerprint")
    events: list[Event] = []
    for number, text in enumerate(HOSTILE):
        told = dict.fromkeys(fields, text)
        events += [
            registered(f"c{number}", name=text, country=text, **told),
            updated(f"c{number}", **IP | dict.fromkeys(("user_agent", "name", "country"), text)),
            signed_up(f"f{number}", **told),
        ]
    marks = await store(referrals_pool, *events) if is_one_batch else None
    if marks is None:
        for each in events:
            await store(referrals_pool, each)
    wanted = [asked(each) for each in events if each.customer_id.startswith("f")]
    assert len(await facts_of(referrals_pool, EVERY, *wanted)) == len(HOSTILE)


async def test_a_batch_takes_a_few_statements_whatever_the_signals(referrals_pool: Pool):
    events: list[Event] = []
    for number in range(200):
        fields = AGENT | {"email": f"a{number % 7}@example.org", "phone": "0501234567", "device_id": f"{number % 9}"}
        events += [registered(f"c{number}", **fields), signed_up(f"c{number}", **fields)]
    async with referrals_pool.acquire() as connection, connection.transaction():
        counting: Any = Counting(connection)
        marks = await evidence.record(counting, events, START, KEY)
        assert counting.statements == 2  # and `fetchval`, which is not counted
        wanted = [asked(each, marks.at(index)) for index, each in enumerate(events) if index % 2]
        assert len(await evidence.load_facts(counting, wanted, EVERY, START, KEY)) == 200
        assert counting.statements <= 2 + 4


async def test_events_that_tell_nothing_and_signals_of_the_rules_alone_take_none(referrals_pool: Pool):
    purchase = event("shop.purchase.delivered.v1", 0, {"customer_id": "fay", "order_id": "o"})
    rules_alone = program({"id": "already_bought"}, {"id": "already_referred"}, {"id": "threshold_order"})
    async with referrals_pool.acquire() as connection:
        counting: Any = Counting(connection)
        marks = await evidence.record(counting, [purchase] * 3, START, KEY)
        assert marks.at(2) == evidence.LATEST
        assert await evidence.load_facts(counting, [asked(signed_up("fay"))], rules_alone, START, KEY) == [Facts()]
        assert counting.statements == 0
