"""An erased customer's records lose their content, whenever they arrive, except the fields that the ledger needs."""

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from shared import telemetry
from shared.contracts.envelope import Event, Record
from shared.contracts.examples import EXAMPLES
from shared.contracts.outcomes import Waiting
from shared.contracts.shop import PurchaseDelivered, PurchaseRefunded, ReviewWithdrawn
from shared.contracts.values import format_instant
from shared.messaging import dead_letters, erasure, records, waiting
from shared.messaging.dead_letters import DeadLetter, Filter
from shared.messaging.erasure import Erasure, apply, erase_nothing, finish
from shared.postgres.checks import ask
from shared.postgres.pool import Connection, Pool
from tests.contracts.records import REFUND, about, binary, data, envelope, read, record, structured
from tests.messaging.log import malformation

ERASED = "shop.customer.erased.v1"
NOON = datetime(2027, 5, 1, 12, tzinfo=UTC)
SECRET = "Layla Haddad"


def hour(hours: float) -> str:
    return format_instant(NOON + timedelta(hours=hours))


def erased(customer: str = "layla", hours: float = 0, published: float = 0) -> Event:
    """An erasure with its time and its publication in hours after noon."""
    event = envelope(ERASED, id=f"{customer}{hours}", time=hour(hours), subject=..., data={"customer_id": customer})
    return read(structs.replace(structured(event), timestamp=NOON + timedelta(hours=published)))


def registration(hours: float = -1, customer: str = "layla", key: str | None = None, **changes: Any) -> Record:
    fields = {"customer_id": customer, "name": SECRET, "email": "layla@example.org"}
    event = envelope("shop.customer.registered.v1", time=hour(hours), subject=..., data=fields) | changes
    created = structured(event, key=(key or customer).encode())
    return structs.replace(created, timestamp=NOON + timedelta(hours=hours if abs(hours) < 99 else 0))


def broken(arrived: float = -1, key: bytes = b"layla") -> Record:
    refused = record(f'{{"name": "{SECRET}"'.encode(), ("x-name", SECRET.encode()), key=key)
    return structs.replace(refused, timestamp=NOON + timedelta(hours=arrived))


async def write(pool: Pool, *refused: Record) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await dead_letters.write(connection, [malformation(item, f"name: {SECRET}") for item in refused])


async def erase(pool: Pool, *events: Event) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await apply(connection, events, erase_nothing, datetime.now(UTC))


async def letters(pool: Pool, **wanted: str) -> list[DeadLetter]:
    """The matching dead letters, oldest first."""
    async with pool.acquire() as connection:
        ids = await dead_letters.ids_of(connection, Filter(**wanted))
        rows = [await dead_letters.find(connection, number) for number in ids]
    return [letter for letter in rows if letter is not None]


async def kept(pool: Pool) -> list[bool]:
    """Whether each letter is complete, oldest first; check that the others have no content."""
    stored = await letters(pool)
    for letter in stored:
        if letter.erased_at is not None:
            assert (letter.record.key, letter.record.value, letter.record.headers, letter.error) == (None, None, (), "")
    return [letter.erased_at is None for letter in stored]


@pytest.mark.parametrize("erasure_first", [False, True])
@pytest.mark.parametrize(
    ("refused", "is_kept"),
    [
        (registration(), False),
        (registration(0), False),
        (registration(0.001), True),
        (registration(customer="omar"), True),
        (registration(key="omar"), False),
        (registration(customer="omar", key="layla"), False),
        (binary(about(REFUND, customer_id="layla")), False),
        (broken(), False),
        (broken(key=b"omar"), True),
        # An absurd event time does not prevent the erasure.
        (registration(9_999), False),
        (registration(time="2027-05-01"), False),
    ],
)
async def test_a_dead_letter_loses_its_content_whichever_comes_first(
    platform_pool: Pool, refused: Record, is_kept: bool, erasure_first: bool
):
    steps = [write(platform_pool, refused), erase(platform_pool, erased(published=99_999))]
    for step in steps[::-1] if erasure_first else steps:
        await step
    assert await kept(platform_pool) == [is_kept]
    (letter,) = await letters(platform_pool)
    assert (letter.record.topic, letter.record.offset, letter.reason) == (refused.topic, 41, "not_json")
    assert letter.record.timestamp == refused.timestamp
    dump = str([tuple(row) for row in await platform_pool.fetch("SELECT dead_letter::text FROM dead_letter")])
    assert (SECRET in dump or SECRET.encode().hex() in dump) is is_kept


async def test_malformed_records_are_erased_by_their_kafka_timestamp(platform_pool: Pool):
    """Records without an event time are erased if they were stored or published before the erasure."""
    await write(platform_pool, broken(5))
    await erase(platform_pool, erased(published=1))
    await write(platform_pool, broken(1), broken(1.1))
    assert await kept(platform_pool) == [False, False, True]


async def test_an_older_erasure_and_a_repeated_one_erase_nothing_more(platform_pool: Pool):
    await erase(platform_pool, erased(hours=1))
    await write(platform_pool, registration(2), broken(9))
    for again in (erased(hours=1), erased(hours=-3), erased("omar")):
        await erase(platform_pool, again)
    assert await kept(platform_pool) == [True, True]
    await erase(platform_pool, erased(hours=1.5), erased(hours=3), erased(hours=2))
    assert await kept(platform_pool) == [False, False]


def refund(number: int = 1, customer: str = "layla", hours: float = -1) -> Waiting:
    fields = data(REFUND, customer_id=customer, order_id="o1", refund_id=f"r{number}") | {"name": SECRET}
    event = envelope(REFUND, id=f"e{number}", time=hour(hours), subject=customer, data=fields, note=SECRET)
    read_again = read(structs.replace(structured(event), timestamp=NOON + timedelta(hours=hours)))
    with_headers = structs.replace(read_again.record, headers=(*read_again.record.headers, (b"name", SECRET.encode())))
    return Waiting("order/o1", f"refund/r{number}", structs.replace(read_again, record=with_headers))


def facts(waiting: Waiting) -> tuple[Any, ...]:
    """All fields except the encoding of the record."""
    event = waiting.event
    named = (event.id, event.source, event.type, event.time, event.customer_id, event.correlation_id)
    place = (event.record.topic, event.record.partition, event.record.offset, event.record.timestamp)
    return (waiting.about, waiting.natural_id, *named, event.causation_id, event.traceparent, event.data, place)


@pytest.mark.parametrize("erasure_first", [False, True])
async def test_a_waiting_refund_is_reduced_and_still_counts(platform_pool: Pool, erasure_first: bool):
    waits = [refund(1), refund(2, "omar"), refund(3, hours=1)]

    async def keep():
        async with platform_pool.acquire() as connection:
            await waiting.keep(connection, waits)

    steps = [keep(), erase(platform_pool, erased())]
    for step in steps[::-1] if erasure_first else steps:
        await step
    rows = await platform_pool.fetch("SELECT customer_id, waiting::text AS whole FROM waiting ORDER BY id")
    named = [SECRET.encode().hex() in row["whole"] for row in rows]
    assert named == ([False, True, True] if erasure_first else [False, True, False])
    async with platform_pool.acquire() as connection:
        taken = await waiting.take(connection, [("layla", "order/o1"), ("omar", "order/o1")])
    assert sorted(map(facts, taken)) == sorted(map(facts, waits))


WAITS = (PurchaseRefunded, PurchaseDelivered, ReviewWithdrawn)


@given(st.sampled_from(sorted(EXAMPLES)), st.sampled_from([structured, binary]))
def test_a_reduced_event_is_the_same_event(type_: str, encode: Any):
    event = read(encode(envelope(type_, traceparent="00-" + "a" * 32 + "-" + "b" * 16 + "-01")))
    again = read(records.reduced(event))
    assert structs.replace(again, record=event.record) == event
    assert set(json.loads(again.record.value or b"")) <= {
        *("specversion", "id", "source", "type", "time", "correlationid", "causationid", "traceparent", "data")
    }


async def test_a_transaction_erases_a_bounded_part_and_the_job_the_rest(
    platform_pool: Pool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(erasure, "MOST_AT_ONCE", 3)
    monkeypatch.setattr(erasure, "MOST_BY_THE_JOB", 2)
    await write(platform_pool, *[registration()] * 8, registration(customer="omar"))
    async with platform_pool.acquire() as connection:
        await waiting.keep(connection, [refund(number) for number in range(8)])
    parts: list[int] = []

    async def own(_connection: Connection, erasures: Sequence[Erasure], most: int) -> int:
        parts.append(most)
        assert [item.customer_id for item in erasures] == ["layla"]
        return 0

    async with platform_pool.acquire() as connection, connection.transaction():
        await apply(connection, [erased()], own, datetime.now(UTC))
    assert (await kept(platform_pool)).count(False) == 3
    await finish(platform_pool, datetime.now(UTC), own)
    assert await kept(platform_pool) == [False] * 8 + [True]
    assert await platform_pool.fetchval("SELECT count(*) FROM waiting WHERE NOT reduced") == 0
    assert parts[0] == 3
    assert set(parts[1:]) == {2}


async def test_concurrent_writes_are_erased_by_the_jobs_second_look(platform_pool: Pool):
    """The write's transaction did not see the erasure, and the erasure did not see the write."""
    look_at = "SELECT look_at FROM erasure"
    async with platform_pool.acquire() as connection, connection.transaction():
        await dead_letters.write(connection, [malformation(registration())])
        await erase(platform_pool, erased())
        await finish(platform_pool, datetime.now(UTC), erase_nothing)
    assert await kept(platform_pool) == [True]
    assert await platform_pool.fetchval(look_at) is not None
    await finish(platform_pool, datetime.now(UTC), erase_nothing)
    assert await kept(platform_pool) == [True], "the job does not look all the time"
    await finish(platform_pool, datetime.now(UTC) + erasure.SETTLED_AFTER, erase_nothing)
    assert await kept(platform_pool) == [False]
    assert await platform_pool.fetchval(look_at) is None


async def test_an_erasure_does_not_wait_for_a_letter_that_is_being_replayed(platform_pool: Pool):
    await write(platform_pool, registration(), registration())
    first, second = await letters(platform_pool)
    async with platform_pool.acquire() as connection, connection.transaction():
        assert len(await dead_letters.claim(connection, [first.id])) == 1
        await asyncio.wait_for(erase(platform_pool, erased()), 5)
        assert await kept(platform_pool) == [True, False]
    await finish(platform_pool, datetime.now(UTC), erase_nothing)
    assert await kept(platform_pool) == [False, False]
    assert second.id > first.id


async def test_two_workers_finish_each_erasure_together(platform_pool: Pool):
    names = [f"c{number}" for number in range(250)]
    await write(platform_pool, *(registration(customer=name) for name in names for _ in range(2)))
    async with platform_pool.acquire() as connection, connection.transaction():
        await connection.execute(
            "INSERT INTO erasure SELECT name, $2, $2, clock_timestamp(), now() FROM unnest($1::text[]) AS name",
            names,
            NOON,
        )
    await asyncio.gather(*(finish(platform_pool, datetime.now(UTC), erase_nothing) for _ in range(3)))
    assert not any(await kept(platform_pool))


async def test_the_number_of_statements_does_not_grow_with_erasures(platform_pool: Pool):
    async def count(customers: Sequence[str]) -> int:
        statements: list[object] = []
        async with platform_pool.acquire() as connection, connection.transaction():
            with connection.query_logger(statements.append):
                await apply(connection, [erased(customer) for customer in customers], erase_nothing, datetime.now(UTC))
        return len(statements)

    await count(["first"])  # a new connection looks up its array types once
    assert await count([f"c{number}" for number in range(10)]) <= 5
    assert await count([f"d{number}" for number in range(500)]) <= 5
    assert await count([]) == 0


async def test_verify_reports_rows_that_an_erasure_left(platform_pool: Pool):
    async def offenders() -> list[str]:
        async with platform_pool.acquire() as connection:
            (check,) = [item async for item in ask(connection, (erasure.query(),))]
        return check.offenders

    await erase(platform_pool, erased(), erased("omar"))
    await write(platform_pool, registration(), registration(customer="omar"))
    await finish(platform_pool, datetime.now(UTC) + erasure.SETTLED_AFTER, erase_nothing)
    assert await offenders() == []
    await platform_pool.execute("UPDATE dead_letter SET erased_at = NULL WHERE 'omar' = ANY(customer_ids)")
    assert await offenders() == ["omar"]
    answer = "INSERT INTO idempotency_key VALUES ('key:shop', 'k', '', 200, '{}', now() - interval '1 hour', 'layla')"
    await platform_pool.execute(answer)
    assert sorted(await offenders()) == ["layla", "omar"]


async def test_dead_letters_of_one_customer_are_listed(platform_pool: Pool):
    await write(platform_pool, registration(), broken(), registration(customer="omar", key="layla"), broken(key=b"z"))
    assert len(await letters(platform_pool, customer_id="layla")) == 3
    assert [letter.customer_ids for letter in await letters(platform_pool, customer_id="omar")] == [("layla", "omar")]
    assert await letters(platform_pool, customer_id="nobody") == []
    async with platform_pool.acquire() as connection:
        assert len(await dead_letters.ids_of(connection, Filter("not_json", "layla"))) == 3
        assert await dead_letters.ids_of(connection, Filter("bad_field", "layla")) == []


def expired(kind: str) -> float:
    return telemetry.EXPIRED.labels(kind)._value.get()


async def test_dead_letters_expire_in_bounded_parts(platform_pool: Pool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(dead_letters, "_AT_ONCE", 2)
    before = expired("dead_letter")
    await write(platform_pool, *(structs.replace(broken(), offset=number) for number in range(7)))
    await platform_pool.execute("UPDATE dead_letter SET recorded_at = now() - interval '91 days' WHERE \"offset\" < 5")
    await dead_letters.forget(platform_pool, datetime.now(UTC), timedelta(days=90))
    assert [letter.record.offset for letter in await letters(platform_pool)] == [5, 6]
    assert expired("dead_letter") == before + 5


async def test_expired_waiting_events_are_logged(
    platform_pool: Pool, monkeypatch: pytest.MonkeyPatch, logged: list[dict[str, Any]]
):
    monkeypatch.setattr(waiting, "_AT_ONCE", 2)
    before = expired("waiting")
    async with platform_pool.acquire() as connection:
        await waiting.keep(connection, [refund(number) for number in range(4)])
    aged = "UPDATE waiting SET recorded_at = now() - interval '401 days' WHERE natural_id <> 'refund/r0'"
    await platform_pool.execute(aged)
    await waiting.forget(platform_pool, datetime.now(UTC), timedelta(days=400))
    assert await platform_pool.fetchval("SELECT array_agg(natural_id) FROM waiting") == ["refund/r0"]
    assert expired("waiting") == before + 3
    named = [item for item in logged if item["event"] == "waiting_record_expired"]
    assert sorted(item["natural_id"] for item in named) == ["refund/r1", "refund/r2", "refund/r3"]
    assert {(item["customer_id"], item["about"], item["topic"], item["offset"]) for item in named} == {
        ("layla", "order/o1", "shop.purchases", 41)
    }
    assert SECRET not in str(logged)
