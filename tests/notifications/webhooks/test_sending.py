"""Webhooks from events to endpoints over real connections, verified by the library of the standard."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from asyncpg.exceptions import UndefinedColumnError
from standardwebhooks.webhooks import WebhookVerificationError

from services.notifications.channels.webhooks import Message, Webhooks
from services.notifications.rules.webhook import Outcome, State
from services.notifications.sending import webhooks as sending
from services.notifications.store import deliveries
from services.notifications.store.deliveries import Settled
from shared.http.guard import Guard
from shared.postgres.pool import Pool
from tests.notifications import world as shop
from tests.notifications.channels.web import CUT, HANG, FakeWeb, Request, answer, serving
from tests.notifications.webhooks.world import (
    LOOPBACK,
    add,
    dispatcher,
    due_now,
    endpoint_of,
    ids,
    rows,
    send,
    states,
    verified,
)

NO_ANSWER = "no answer in time, or none that is HTTP"


@pytest.fixture
async def fake() -> AsyncIterator[FakeWeb]:
    async with serving(FakeWeb(lambda _: answer(204))) as fake:
        yield fake


async def handle(pool: Pool, count: int = 1) -> None:
    """Handle events that make no messages."""
    await shop.handle(pool, *(shop.moved("activated", "mona", points + 1) for points in range(count)))


async def until(fake: FakeWeb, count: int) -> None:
    async with asyncio.timeout(10):
        while len(fake.requests) < count:  # noqa: ASYNC110 the server sets no event
            await asyncio.sleep(0.02)


async def test_an_event_reaches_an_endpoint_signed(pool: Pool, fake: FakeWeb):
    endpoint = await add(pool, f"{fake.url}/hooks?a=b", "loyalty.points.*")
    event = shop.earned("mona", 3)
    await shop.handle(pool, event)
    await send(pool, dispatcher())
    (request,) = fake.requests
    assert (request.method, request.path) == ("POST", "/hooks?a=b")
    assert verified(request, endpoint) == {
        "type": "loyalty.points.earned.v1",
        "timestamp": "2026-03-01T12:00:00Z",
        "data": json.loads(event.record.value or b"")["data"],
    }
    assert request.headers["webhook-id"] == event.id
    assert request.headers["content-type"] == "application/json"
    assert await states(pool) == [("delivered", 1)]
    (entry,) = (await rows(pool))[0]["log"]
    assert entry["status"] == 204


async def test_each_endpoint_has_a_secret_of_its_own(pool: Pool, fake: FakeWeb):
    first, second = await add(pool, f"{fake.url}/1"), await add(pool, f"{fake.url}/2")
    await handle(pool)
    await send(pool, dispatcher())
    one, two = sorted(fake.requests, key=lambda request: request.path)
    assert verified(one, first) == verified(two, second)
    with pytest.raises(WebhookVerificationError):
        verified(one, second)


async def test_what_notifications_publishes_is_sent_too(pool: Pool, fake: FakeWeb):
    endpoint = await add(pool, fake.url, "loyalty.message.sent.v1")
    await shop.handle(pool, shop.registered("mona"), shop.earned("mona", 3))
    await send(pool, dispatcher())
    published = [event for event in await shop.published(pool) if event["type"] == "loyalty.message.sent.v1"]
    assert len(published) == 2
    assert sorted(ids(fake)) == sorted(event["id"] for event in published)
    sent = [verified(request, endpoint)["data"] for request in fake.requests]
    assert sorted(map(str, sent)) == sorted(str(event["data"]) for event in published)


async def test_a_failed_attempt_is_repeated_with_the_same_id_and_body(pool: Pool, fake: FakeWeb):
    endpoint = await add(pool, fake.url)
    fake.script = lambda _: answer(500, {"why": "not now"})
    await handle(pool)
    before = datetime.now(UTC)
    await send(pool, dispatcher())
    (row,) = await rows(pool)
    assert timedelta(seconds=4.9) <= row["due_at"] - before <= timedelta(seconds=8)
    assert (row["state"], row["log"][0]["status"], row["log"][0]["excerpt"]) == ("pending", 500, '{"why": "not now"}')
    assert (await endpoint_of(pool, endpoint))["failing_since"] is not None
    fake.script = lambda _: answer(200)
    await due_now(pool)
    await send(pool, dispatcher())
    first, second = fake.requests
    assert (first.headers["webhook-id"], first.body) == (second.headers["webhook-id"], second.body)
    assert verified(second, endpoint)["type"] == "loyalty.points.activated.v1"
    assert await states(pool) == [("delivered", 2)]
    assert (await endpoint_of(pool, endpoint))["failing_since"] is None


@pytest.mark.parametrize(
    "said, status, error",
    [
        (answer(301, location="https://10.0.0.1/"), 301, None),
        (answer(404), 404, None),
        (CUT, None, NO_ANSWER),
        (HANG, None, NO_ANSWER),
        (b"SSH-2.0-x\r\n\r\n", None, NO_ANSWER),
    ],
)
async def test_only_2xx_in_time_is_a_success(
    pool: Pool, fake: FakeWeb, said: bytes, status: int | None, error: str | None
):
    await add(pool, fake.url)
    fake.script = lambda _: said
    await handle(pool)
    await send(pool, dispatcher(seconds=0.5))
    (row,) = await rows(pool)
    assert row["state"] == "pending"
    assert (row["log"][0].get("status"), row["log"][0].get("error")) == (status, error)
    assert len(fake.requests) == 1


async def test_an_endpoint_that_is_down_has_no_connection(pool: Pool, fake: FakeWeb):
    await add(pool, "http://127.0.0.1:1/".replace(":1/", f":{fake.port}/").replace("127.0.0.1", "127.0.0.9"))
    await handle(pool)
    await send(pool, dispatcher())
    assert (await rows(pool))[0]["log"][0]["error"] == "no connection"


async def test_the_endpoint_can_ask_for_more_time(pool: Pool, fake: FakeWeb):
    await add(pool, fake.url)
    fake.script = lambda _: answer(503, retry_after="3600")
    await handle(pool)
    before = datetime.now(UTC)
    await send(pool, dispatcher())
    assert (await rows(pool))[0]["due_at"] - before >= timedelta(hours=1)


async def test_after_ten_attempts_it_has_failed(pool: Pool, fake: FakeWeb):
    await add(pool, fake.url)
    fake.script = lambda _: answer(500)
    await handle(pool)
    sender = dispatcher()
    for _ in range(12):
        await send(pool, sender)
        await due_now(pool)
    (row,) = await rows(pool)
    assert (row["state"], row["attempts"], len(row["log"]), len(fake.requests)) == ("failed", 10, 10, 10)


async def test_410_disables_the_endpoint_and_the_rest_waits(pool: Pool, fake: FakeWeb):
    endpoint = await add(pool, fake.url)
    fake.script = lambda _: answer(410)
    await handle(pool, 6)
    await send(pool, dispatcher())
    assert [state for state, _ in await states(pool)] == ["failed"] * 4 + ["pending"] * 2
    stored = await endpoint_of(pool, endpoint)
    assert (stored["enabled"], stored["disabled_reason"]) == (False, "gone")
    await send(pool, dispatcher())
    assert len(fake.requests) == 4


async def test_five_days_of_failures_disable_the_endpoint(pool: Pool, fake: FakeWeb):
    endpoint = await add(pool, fake.url)
    fake.script = lambda _: answer(500)
    await pool.execute(
        "UPDATE webhook_endpoint SET failing_since = now() - interval '5 days', failed_at = now() - interval '1 day'"
    )
    await handle(pool)
    await send(pool, dispatcher())
    stored = await endpoint_of(pool, endpoint)
    assert (stored["enabled"], stored["disabled_reason"]) == (False, "failing")


async def test_private_addresses_are_not_called(pool: Pool, fake: FakeWeb):
    await add(pool, fake.url.replace("http://", "https://"))
    await add(pool, f"https://localhost:{fake.port}/")
    await handle(pool)
    await send(pool, dispatcher(allow=()))
    assert [row["log"][0]["error"] for row in await rows(pool)] == ["the URL has to lead to a public address"] * 2
    assert fake.connections == 0


async def test_a_slow_endpoint_delays_no_other(pool: Pool, fake: FakeWeb):
    async with serving(FakeWeb(lambda _: HANG)) as slow:
        await add(pool, slow.url)
        await add(pool, fake.url)
        await handle(pool, 40)
        sender = dispatcher(seconds=30.0)
        await sender.run(pool, shop.NOW)
        await until(fake, 40)
        await handle(pool)  # what comes meanwhile goes out meanwhile
        await sender.run(pool, shop.NOW)
        await until(fake, 41)
        assert len(slow.requests) == sending.AT_ONCE


async def test_several_workers_send_each_webhook_once(pool: Pool, fake: FakeWeb):
    await add(pool, fake.url)
    await handle(pool, 100)
    await asyncio.gather(*(send(pool, dispatcher()) for _ in range(3)))
    assert len(ids(fake)) == len(set(ids(fake))) == 100
    assert set(await states(pool)) == {("delivered", 1)}


async def test_a_worker_that_dies_before_the_record_repeats_the_same_id(pool: Pool, fake: FakeWeb):
    await add(pool, fake.url)
    await handle(pool)
    reached = asyncio.Event()

    def script(_: Request) -> bytes:
        reached.set()
        return HANG

    fake.script = script
    dying = dispatcher()
    running = asyncio.create_task(dying.run(pool, shop.NOW))
    await reached.wait()
    await dying.close()
    await running
    fake.script = lambda _: answer(200)
    await send(pool, dispatcher())
    assert len(fake.requests) == 1  # the lease of the dead worker is not over
    await due_now(pool)
    await send(pool, dispatcher())
    assert len(ids(fake)) == 2
    assert len(set(ids(fake))) == 1
    assert await states(pool) == [("delivered", 2)]


async def test_a_success_after_the_lease_still_counts_and_a_failure_does_not(pool: Pool):
    await add(pool, "https://shop.example.org/")
    await handle(pool)
    (row,) = await rows(pool)
    await pool.execute("UPDATE webhook_delivery SET attempts = 2")
    failed = Settled(row["id"], 1, State.FAILED, None, {"at": shop.NOW, "seconds": 1.0})
    async with pool.acquire() as connection:
        await deliveries.settle(connection, [failed])
        assert (await rows(pool))[0]["state"] == "pending"
        await deliveries.settle(connection, [failed._replace(state=State.DELIVERED)])
    assert (await rows(pool))[0]["state"] == "delivered"


class Slow:
    """A channel that takes a while."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self._channel = Webhooks(Guard(LOOPBACK).transport())

    async def send(self, message: Message) -> Outcome:
        self.reached.set()
        await asyncio.sleep(0.2)
        return await self._channel.send(message)

    async def close(self) -> None:
        await self._channel.close()


async def test_a_stopping_worker_records_what_is_under_way(pool: Pool, fake: FakeWeb):
    await add(pool, fake.url)
    await handle(pool, 8)
    channel = Slow()
    running = asyncio.create_task(dispatcher(channel=channel).run(pool, shop.NOW))
    await channel.reached.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await states(pool) == [("delivered", 1)] * 4 + [("pending", 0)] * 4


async def test_without_a_secret_nothing_is_sent(pool: Pool, fake: FakeWeb):
    await add(pool, fake.url)
    await handle(pool)
    sender = dispatcher()
    sender.secret = None
    await send(pool, sender)
    assert fake.requests == []
    assert await deliveries.count_due(pool) == 1


async def test_a_webhook_that_cannot_be_made_does_not_stop_the_others(pool: Pool, fake: FakeWeb):
    await add(pool, fake.url)
    await handle(pool, 2)
    await pool.execute(
        "UPDATE webhook_delivery SET webhook_id = E'a\\r\\nb' WHERE id = $1", (await rows(pool))[0]["id"]
    )
    await send(pool, dispatcher())
    assert await states(pool) == [("pending", 1), ("delivered", 1)]


async def test_a_failure_of_the_database_is_told(pool: Pool, fake: FakeWeb):
    await add(pool, fake.url)
    await handle(pool)
    await pool.execute("ALTER TABLE webhook_delivery RENAME COLUMN log TO entries")
    with pytest.raises(UndefinedColumnError):
        await send(pool, dispatcher())
