"""The outbox goes to Kafka in order, at least once, by one leader."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from aiokafka.errors import KafkaTimeoutError

from shared.contracts.envelope import STRUCTURED, Publication
from shared.messaging import outbox
from shared.messaging.relay import Relay, publish_chunk
from shared.postgres.pool import Pool
from tests.messaging.log import wait_until


@dataclass
class Producer:
    """Collects sent records. The first acknowledgement of each value in `broken` fails."""

    sent: list[tuple[str, bytes, bytes]] = field(default_factory=list)
    broken: list[bytes] = field(default_factory=list)
    headers: list = field(default_factory=list)
    starts: int = 0
    stops: int = 0

    async def start(self):
        self.starts += 1

    async def stop(self):
        self.stops += 1

    async def send(self, topic: str, value: bytes, *, key: bytes, headers: list[tuple[str, bytes]]):
        return asyncio.ensure_future(self._acknowledge(topic, value, key, headers))

    async def _acknowledge(self, topic: str, value: bytes, key: bytes, headers: list[tuple[str, bytes]]):
        if value in self.broken:
            self.broken.remove(value)
            raise KafkaTimeoutError
        self.sent.append((topic, key, value))
        self.headers = headers


async def announce(pool: Pool, *values: str) -> None:
    async with pool.acquire() as connection, connection.transaction():
        publications = [Publication(f"id-{value}", "loyalty.points", b"c1", value.encode()) for value in values]
        await outbox.announce(connection, publications)


async def left(pool: Pool) -> list[str]:
    return [row[0].decode() for row in await pool.fetch("SELECT value FROM outbox ORDER BY id")]


@asynccontextmanager
async def running(relay: Relay) -> AsyncIterator[asyncio.Task]:
    task = asyncio.create_task(relay.run())
    try:
        yield task
    finally:
        relay.stop()
        await asyncio.wait_for(task, 10)


async def test_it_publishes_in_order_and_empties_the_outbox(platform_pool: Pool):
    await announce(platform_pool, *"abcdefg")
    producer = Producer()
    async with platform_pool.acquire() as connection:
        assert await publish_chunk(connection, producer, limit=3) == 3
        assert await left(platform_pool) == list("defg")
        assert await publish_chunk(connection, producer, limit=10) == 4
        assert await publish_chunk(connection, producer) == 0
    assert [value for _, _, value in producer.sent] == [item.encode() for item in "abcdefg"]
    assert producer.sent[0][:2] == ("loyalty.points", b"c1")
    assert producer.headers == [("content-type", STRUCTURED)]


async def test_a_failed_send_keeps_all_rows_of_the_chunk(platform_pool: Pool):
    await announce(platform_pool, *"abc")
    producer = Producer(broken=[b"b"])
    async with platform_pool.acquire() as connection:
        with pytest.raises(KafkaTimeoutError):
            await publish_chunk(connection, producer)
        assert await left(platform_pool) == list("abc")
        await publish_chunk(connection, producer)
    assert await left(platform_pool) == []
    assert [value for _, _, value in producer.sent][-3:] == [b"a", b"b", b"c"]


async def test_rows_of_an_open_transaction_are_published_after_its_commit(platform_pool: Pool):
    producer = Producer()
    async with platform_pool.acquire() as slow, platform_pool.acquire() as connection:
        transaction = slow.transaction()
        await transaction.start()
        await outbox.announce(slow, [Publication("id", "loyalty.points", b"c1", b"early")])
        await announce(platform_pool, "late")
        await publish_chunk(connection, producer)
        await transaction.commit()
        await publish_chunk(connection, producer)
    assert sorted(value for _, _, value in producer.sent) == [b"early", b"late"]


async def test_one_relay_leads_and_another_takes_over(platform_pool: Pool):
    leader, other = Producer(), Producer()
    first, second = Relay(platform_pool, lambda: leader), Relay(platform_pool, lambda: other)
    async with running(first):
        await wait_until(lambda: leader.starts == 1)
        async with running(second):
            await announce(platform_pool, "a", "b")
            await wait_until(lambda: len(leader.sent) == 2)
            assert other.starts == 0
            first.stop()
            await wait_until(lambda: leader.stops == 1)
            await announce(platform_pool, "c")
            await wait_until(lambda: len(other.sent) == 1)
    assert [value for _, _, value in leader.sent + other.sent] == [b"a", b"b", b"c"]


async def test_a_leader_that_loses_its_session_loses_its_claim(platform_pool: Pool):
    producer = Producer()
    relay = Relay(platform_pool, lambda: producer)
    await announce(platform_pool, "a")
    async with running(relay):
        await wait_until(lambda: len(producer.sent) == 1)
        await platform_pool.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory' AND granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        await announce(platform_pool, "b")
        await wait_until(lambda: len(producer.sent) == 2)
        await wait_until(lambda: relay.healthy)
    assert producer.starts == 2, "each session has a producer of its own"
    assert producer.stops == 2


async def test_a_failing_broker_is_retried_until_it_answers(platform_pool: Pool):
    producer = Producer(broken=[b"a", b"a"])
    seen: list[bool] = []
    relay = Relay(platform_pool, lambda: seen.append(relay.healthy) or producer)
    await announce(platform_pool, "a", "b")
    async with running(relay):
        await wait_until(lambda: not producer.broken and len(producer.sent) >= 2)
        await wait_until(lambda: relay.healthy)
    assert seen == [True, False, False]
    assert await left(platform_pool) == []


async def test_a_republished_event_is_the_same_event(platform_pool: Pool):
    """The id of an event is in its value, which is created once, in the transaction of its effect."""
    await announce(platform_pool, "a", "b")
    crashed, next_one = Producer(), Producer()
    async with platform_pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await publish_chunk(connection, crashed)
        await transaction.rollback()  # the process died between the acknowledgement and the commit
        await publish_chunk(connection, next_one)
    assert next_one.sent == crashed.sent


async def test_stopping_ends_it_at_once(platform_pool: Pool):
    relay = Relay(platform_pool, Producer)
    async with asyncio.timeout(2), running(relay):
        await asyncio.sleep(0.05)


async def test_the_outbox_is_measured(platform_pool: Pool):
    await outbox.measure(platform_pool, datetime.now(UTC))
    assert outbox.telemetry.OUTBOX_ROWS._value.get() == 0
    assert outbox.telemetry.OUTBOX_AGE._value.get() == 0
    await announce(platform_pool, "a", "b")
    await outbox.measure(platform_pool, datetime.now(UTC) + timedelta(seconds=60))
    assert outbox.telemetry.OUTBOX_ROWS._value.get() == 2
    assert 59 < outbox.telemetry.OUTBOX_AGE._value.get() < 70


@pytest.mark.parametrize(("linger", "waits"), [(0.0, False), (30.0, True)])
async def test_a_claim_of_few_rows_is_followed_by_a_delay(platform_pool: Pool, linger: float, waits: bool):
    producer = Producer()
    relay = Relay(platform_pool, lambda: producer, linger)
    await announce(platform_pool, "a")
    async with running(relay):
        await wait_until(lambda: len(producer.sent) == 1)
        await announce(platform_pool, "b")
        relay.woken.set()
        await asyncio.sleep(0.3)
        assert (len(producer.sent) == 1) is waits
        relay.stop()  # at once, however long it would linger
        await wait_until(lambda: producer.stops == 1)
