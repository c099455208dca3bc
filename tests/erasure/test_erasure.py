"""After an erasure only ids, points, money and times of a customer are left in any database."""

import asyncio
import importlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from shared.contracts import topics
from shared.contracts.envelope import Record
from shared.contracts.reasons import Reason
from shared.messaging import dead_letters, erasure
from shared.messaging.batch import Batch, Here, Malformation, Span
from shared.messaging.dead_letters import Filter
from shared.messaging.delivery import Delivery
from shared.messaging.positions import Group
from shared.messaging.worker import WorkerSpec
from shared.postgres.pool import Pool
from tests.api.served import SERVICES, Served, Service, serve
from tests.erasure import columns, life
from tests.erasure.columns import Fate
from tests.erasure.life import BEFORE, CUSTOMER, NOW, SECRETS

GROUP = Group("cluster-1", "wafa-test")

# Columns of these types hold no text.
_HARMLESS = ("bigint", "integer", "smallint", "numeric", "boolean", "timestamp with time zone", "uuid")

COLUMNS_SQL = """
SELECT table_name || '.' || column_name AS name
FROM information_schema.columns
WHERE table_schema = 'public' AND data_type <> ALL($1::text[]) AND udt_name NOT IN ('_uuid', '_int4', '_int8')
"""


@pytest.fixture(params=SERVICES, ids=lambda service: service.name)
def service(request: pytest.FixtureRequest) -> Service:
    return request.param


@pytest.fixture
async def served(service: Service, postgres_url: str, tmp_path: Path):
    with structlog.testing.capture_logs() as logged:
        async with serve(service, postgres_url, tmp_path, has_dead_letter=False) as running:
            yield running
    assert not [secret for secret in SECRETS.values() if secret in str(logged)]


def spec_of(service: Service) -> WorkerSpec:
    return importlib.import_module(f"services.{service.name}.worker").spec(service.settings())


async def deliver(pool: Pool, service: Service, records: Sequence[Record]) -> None:
    """Deliver records to the service as its worker does, from the position of each topic."""
    spec = spec_of(service)
    for topic in spec.topics:
        own = [record for record in records if record.topic == topic]
        if not own:
            continue
        start = await pool.fetchval("SELECT next_offset FROM position WHERE topic = $1", topic)
        events, malformed = await Here(spec.wanted).read(own)
        batch = Batch({(topic, 0): Span(start, (start or 0) + 100)}, events, malformed, 0)
        assert await Delivery(pool, GROUP, spec.handle).deliver(batch, lambda _: False)


async def dump(pool: Pool) -> dict[str, str]:
    """The content of a database as text, by table and column; bytes in their escape format."""
    texts: dict[str, str] = {}
    async with pool.acquire() as connection:
        await connection.execute("SET bytea_output = 'escape'")
        names = await connection.fetch(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
        )
        for table, column in names:
            value = f'SELECT string_agg("{column}"::text, chr(10)) FROM "{table}"'
            texts[f"{table}.{column}"] = await connection.fetchval(value) or ""
        await connection.execute("RESET bytea_output")
    return texts


def holding(texts: dict[str, str]) -> dict[str, list[str]]:
    """The secrets by the columns that hold them."""
    named = {
        column: [
            name
            for name, secret in SECRETS.items()
            if (secret in text or secret in text.replace("\\\\", "\\")) and (column, name) != ORDER_ID
        ]
        for column, text in texts.items()
    }
    return {column: secrets for column, secrets in named.items() if secrets}


ORDER_ID = ("counted.about", "parcel")
"""An id, which stays: the order that points were earned for."""

ANSWER_SQL = "INSERT INTO idempotency_key VALUES ('key:shop', 'k-1', '', 201, $1, now() - interval '1 hour', $2)"
LEGACY_ORDER_SQL = """
UPDATE purchase SET body = (body::jsonb || jsonb_build_object('coupon_codes', ARRAY[$1::text]))::json
WHERE customer_id = $2 AND order_id = 'o-1'
"""


LEGACY_NOTE_SQL = """
UPDATE transaction SET inputs = json_build_object('note', $1::text) WHERE kind = 'adjusted' AND customer_id = $2
"""


# A webhook whose receiver answered with what it was sent.
WEBHOOK_SQL = """
INSERT INTO webhook_delivery
    (id, endpoint_id, webhook_id, customer_id, type, payload, occurred_at, created_at, due_at, log)
SELECT uuidv7(), id, 'event-1', $1, 'loyalty.points.adjusted.v1', $2, '2020-01-01', now(), now(),
       jsonb_build_array($3::text)
FROM webhook_endpoint
"""


# What a customer chose, and where journeys stand, of the customer and of another.
OWN_SQL = """
INSERT INTO consent (customer_id, channel, action, how, at, actor, locale)
SELECT id, 'sms', 'granted', 'api', '2020-01-01', $2, $2 FROM unnest($1::text[]) AS own (id);
"""
PREFERENCE_SQL = """
INSERT INTO preference (customer_id, locale, time_zone, off, topics_off, updated_at)
SELECT id, $2, $2, '{}', '{}', '2020-01-01' FROM unnest($1::text[]) AS own (id) ON CONFLICT DO NOTHING
"""
BROWSER_SQL = """
INSERT INTO push_subscription (id, customer_id, endpoint, p256dh, auth, created_at)
SELECT gen_random_uuid(), id, id || $2, $2, $2, '2020-01-01' FROM unnest($1::text[]) AS own (id)
"""
RUN_SQL = """
INSERT INTO run (id, customer_id, journey, version, key, type, facts, fields, started_at, since, recorded_at, state,
                 step, fell_due_at, items, count, trace, correlation_id, causation_id)
SELECT gen_random_uuid(), id, 'win_back', 1, 'k', 't', to_json($2::text), to_json($2::text), '2020-01-01', '2020-01-01',
       '2020-01-01', 'done', '0', '2020-01-01', to_json($2::text), 0, '[]', 'c', 'c'
FROM unnest($1::text[]) AS own (id)
"""
TIMER_SQL = """
INSERT INTO timer (customer_id, journey, base, correlation_id, causation_id)
SELECT id, 'win_back', '2020-01-01', 'c', 'c' FROM unnest($1::text[]) AS own (id)
"""
HAPPENED_SQL = """
INSERT INTO happened (customer_id, type, key, at)
SELECT id, 'shop.purchase.completed.v1', 'order/1', '2020-01-01' FROM unnest($1::text[]) AS own (id)
"""
# Earlier versions stored the text of inbox messages.
LEGACY_TEXT_SQL = """
UPDATE message SET title = $2, body = $2 WHERE customer_id = $1 AND channel = 'in_app'
"""


# A referral of the customer's own, rejected with a note.
DECIDED_SQL = """
WITH own AS (
    INSERT INTO referral (referral_id, advocate_id, friend_id, code, program_version, state, reason, signals,
                          signed_up_at, closed_at, recorded_at)
    SELECT gen_random_uuid(), customer_id, customer_id, coalesce(key, code), 1, 'rejected', 'fraud',
           '[{"id": "self", "action": "block", "weight": 0, "at": "2026-01-01T00:00:00+00:00"}]',
           created_at, created_at, created_at
    FROM referral_code WHERE customer_id = $1 LIMIT 1
    RETURNING referral_id, closed_at, recorded_at, state, reason
)
INSERT INTO referral_step (referral_id, at, recorded_at, state, reason, actor, note)
SELECT *, 'key:ann', $2 FROM own
"""


async def live(served: Served, service: Service) -> None:
    """Store everything about the customer that a service can store."""
    pool = served.pool
    await deliver(pool, service, life.life())
    await pool.execute(ANSWER_SQL, {"answer": SECRETS["answer"]}, CUSTOMER)
    # The error of a handler may quote data.
    await pool.execute("UPDATE dead_letter SET error = error || $1", SECRETS["name"])
    if service.name == "points":
        # Earlier versions stored coupon codes.
        await pool.execute(LEGACY_ORDER_SQL, SECRETS["coupon"], CUSTOMER)
        body = {"points": 7, "reason": SECRETS["reason"], "note": SECRETS["note"]}
        path = f"/v1/customers/{CUSTOMER}/adjustments"
        answer = await served.client.post(path, json=body, headers=served.admin | {"Idempotency-Key": "k-2"})
        assert answer.status_code == 201
        # Earlier versions stored support's note, which they showed to customers.
        await pool.execute(LEGACY_NOTE_SQL, SECRETS["note"], CUSTOMER)
    if service.name == "tiers":
        body = {"tier": "gold", "note": SECRETS["note"]}
        answer = await served.client.put(f"/v1/customers/{CUSTOMER}/tier", json=body, headers=served.admin)
        assert answer.status_code == 200
    if service.name == "referrals":
        body = {"vanity": SECRETS["vanity"]}
        path = f"/v1/customers/{CUSTOMER}/referral-code"
        answer = await served.client.post(path, json=body, headers=served.admin | {"Idempotency-Key": "k-3"})
        assert answer.status_code == 200
        await served.client.get(f"/r/{SECRETS['vanity']}")
        assert await pool.fetchval("SELECT count(*) FROM referral_click") == 1
        await pool.execute(DECIDED_SQL, CUSTOMER, SECRETS["note"])
    if service.name == "notifications":
        await pool.execute(WEBHOOK_SQL, CUSTOMER, SECRETS["name"], SECRETS["note"])
    # The relay deletes events once they are published.
    await pool.execute("DELETE FROM outbox")


async def choose(pool: Pool) -> None:
    """Store what the customer and another chose, and where journeys stand."""
    for statement in (OWN_SQL, PREFERENCE_SQL, BROWSER_SQL, RUN_SQL):
        await pool.execute(statement, [CUSTOMER], SECRETS["note"])
        await pool.execute(statement, ["ann"], "Ann's")
    for statement in (TIMER_SQL, HAPPENED_SQL):
        await pool.execute(statement, [CUSTOMER, "ann"])
    await pool.execute(LEGACY_TEXT_SQL, CUSTOMER, SECRETS["note"])


async def finish(pool: Pool, service: Service, later: timedelta = timedelta(0)) -> None:
    await erasure.finish(pool, datetime.now(UTC) + later, spec_of(service).erase)


async def test_every_text_column_has_a_fate(served: Served, service: Service):
    actual = {row["name"] for row in await served.pool.fetch(COLUMNS_SQL, _HARMLESS)}
    known = columns.columns(service.name).keys()
    assert (actual - known, known - actual) == (set(), set()), "say in columns.py what an erasure does with it"


async def test_nothing_is_left_of_an_erased_customer(served: Served, service: Service):
    fates = columns.columns(service.name)
    await live(served, service)
    if service.name == "notifications":
        await choose(served.pool)
    before = holding(await dump(served.pool))
    waits = "waiting." if service.name == "notifications" else "none."  # no event waits there
    erased = {name for name, fate in fates.items() if fate is Fate.ERASED and not name.startswith(waits)}
    assert sorted(before.keys() - erased) == []
    assert sorted(erased - before.keys()) == []
    await deliver(served.pool, service, [life.erasure()])
    assert holding(await dump(served.pool)) == {}
    rows_go = {name.partition(".")[0] for name, fate in fates.items() if fate is Fate.WITH_ITS_ROW}
    for table in rows_go:
        left = f"SELECT count(*) FROM {table} WHERE customer_id = $1"
        assert await served.pool.fetchval(left, CUSTOMER) == 0
        assert await served.pool.fetchval(left, "ann") > 0, "other customers keep their rows"


async def test_repeated_or_late_events_restore_nothing(served: Served, service: Service):
    await deliver(served.pool, service, [life.erasure()])
    await deliver(served.pool, service, life.life())
    # The position was set back after the inbox was cleared.
    await served.pool.execute("DELETE FROM inbox")
    await deliver(served.pool, service, life.life())
    await served.pool.execute("DELETE FROM outbox")
    assert holding(await dump(served.pool)) == {}


async def test_one_batch_of_earlier_events_and_the_erasure_leaves_nothing(served: Served, service: Service):
    for records in ([*life.life(), life.erasure()], [life.erasure(91, NOW), *life.life()]):
        await served.pool.execute("DELETE FROM inbox; DELETE FROM erasure")
        await deliver(served.pool, service, records)
        await served.pool.execute("DELETE FROM outbox")
        assert holding(await dump(served.pool)) == {}


async def test_a_late_erasure_keeps_a_later_registration(served: Served, service: Service):
    again = life.record("shop.customer.registered.v1", 80, life.PROFILE, time=BEFORE + timedelta(hours=1))
    await deliver(served.pool, service, [again, life.erasure(time=BEFORE)])
    kept = {"points": {"birth"}, "notifications": {"name", "email", "phone", "birth"}}.get(service.name, set())
    remaining = {secret for secrets in holding(await dump(served.pool)).values() for secret in secrets}
    assert remaining == kept


async def test_the_ledger_continues_by_ids(served: Served, service: Service):
    """Waiting events still count, and `verify` reports no fault."""
    await live(served, service)
    await deliver(served.pool, service, [life.erasure()])
    later = life.record("shop.purchase.completed.v1", 95, life.purchase("o-later"), time=BEFORE)
    await deliver(served.pool, service, [later])
    if service.name in {"points", "tiers", "referrals"}:
        amount = "SELECT sum(amount::numeric) FROM refund WHERE customer_id = $1 AND order_id = 'o-later'"
        assert await served.pool.fetchval(amount, CUSTOMER) == 5
    await finish(served.pool, service, erasure.SETTLED_AFTER)
    main: Any = importlib.import_module(f"services.{service.name}.__main__")
    verify = main._verify(service.settings(), served.pool, 1000)
    # The mails of the test data are years old, and no job applied what fell due since.
    timely = {"no mail hangs", "what has fallen due is applied, and the next instant is right"}
    checks = [check async for check in verify if check.name not in timely]
    assert [check for check in checks if check.offenders] == []


async def test_an_older_dead_letter_replayed_after_the_erasure_restores_nothing(served: Served, service: Service):
    """The replay locked the dead letter before the erasure arrived, and handles it afterwards."""
    spec = spec_of(service)
    if topics.CUSTOMERS not in spec.topics or "shop.customer.registered.v1" not in spec.wanted:
        return
    pool = served.pool
    good = [record for record in life.life() if record.topic == topics.CUSTOMERS][:1]
    events, _ = await Here(spec.wanted).read(good)
    refused = Malformation(good[0], Reason.HANDLER_REFUSED, SECRETS["name"])
    async with pool.acquire() as connection:
        await dead_letters.write(connection, [refused])
    async with pool.acquire() as connection, connection.transaction():
        ids = await dead_letters.ids_of(connection, Filter(customer_id=CUSTOMER))
        assert len(await dead_letters.claim(connection, ids)) == 1
        await asyncio.wait_for(deliver(pool, service, [life.erasure()]), 10)
        assert await Delivery(pool, GROUP, spec.handle).replay(events, connection) == []
        await dead_letters.write(connection, [refused])
        await dead_letters.delete(connection, ids)
    await pool.execute("DELETE FROM outbox")
    assert holding(await dump(pool)) == {}


async def test_other_customers_lose_nothing(served: Served, service: Service):
    await live(served, service)
    async with served.pool.acquire() as connection:
        await dead_letters.write(connection, [Malformation(life.other(), Reason.NOT_JSON, "broken")])
        count = len(await dead_letters.page(connection, Filter(), None, 100))
    await deliver(served.pool, service, [life.erasure()])
    async with served.pool.acquire() as connection:
        letters = await dead_letters.page(connection, Filter(), None, 100)
        others = [await dead_letters.find(connection, letter.id) for letter in letters if letter.erased_at is None]
    assert (len(letters), [letter and letter.record for letter in others]) == (count, [life.other()])
