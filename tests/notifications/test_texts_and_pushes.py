"""Text messages and pushes that are due, from the request of a journey to the provider."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest

from services.notifications.channels.port import Port
from services.notifications.channels.push import WebPush
from services.notifications.channels.push.vapid import Vapid
from services.notifications.channels.sms import Account, TextMessages
from services.notifications.handlers.making import Maker, make
from services.notifications.rules.gate import Limits
from services.notifications.rules.message import Channel
from services.notifications.rules.trigger import Request, triggers
from services.notifications.sending import Sender
from services.notifications.sending.ways import Mails, Pushes, Texts, Way
from services.notifications.store import customers, subscriptions
from services.notifications.store.subscriptions import Browser as Row
from shared.postgres.pool import Pool
from tests.notifications.channels.browser import Browser, encode
from tests.notifications.channels.web import CUT, HANG, FakeWeb, answer, serving
from tests.notifications.mail_server import MailServer
from tests.notifications.world import NOW, ago, claimer, earned, handle, judge, library, messages, registered

TEMPLATE = {
    "topic": "points",
    "kind": "transactional",
    "samples": {"points": 5},
    "sms": {"en": {"text": "You earned {{ points }} points"}, "ar": {"text": "حصلت على {{ points }}"}},
    "push": {"en": {"title": "Points", "body": "{{ points }} more", "url": "https://shop.example.org/points"}},
    "email": {"en": {"subject": "Points", "markdown": "{{ points }} more"}},
}
OFFER = {**TEMPLATE, "topic": "offers", "kind": "marketing"}
ADD_SQL = """
INSERT INTO document_version (kind, id, version, document, created_at, published_at, effective_at)
VALUES ('template', $1, 1, $2::text::json, $3, $3, $3)
"""


@pytest.fixture(autouse=True)
async def published_templates(pool: Pool) -> None:
    for name, document in (("bonus", TEMPLATE), ("offer", OFFER)):
        await pool.execute(ADD_SQL, name, json.dumps(document), ago(days=90))


_opened: list[Port[Any]] = []


@pytest.fixture(autouse=True)
async def closed_channels() -> AsyncIterator[None]:
    yield
    while _opened:
        await _opened.pop().close()


@pytest.fixture
async def provider() -> AsyncIterator[FakeWeb]:
    async with serving(FakeWeb(lambda _: answer(201, {"sid": "SM1"}))) as fake:
        yield fake


def texts(provider: FakeWeb) -> Texts:
    account = Account(provider.url, "AC1", "token", "+15005550006")
    _opened.append(TextMessages(account, seconds=1.0))
    return Texts(library(), _opened[-1], opt_out={"en": "STOP ends it"})


def pushes(**limits: Any) -> Pushes:
    vapid = Vapid(encode(b"\x01" * 32), "mailto:loyalty@example.org")
    _opened.append(WebPush(vapid, httpx.AsyncHTTPTransport(), **limits))
    return Pushes(library(), _opened[-1])


def sender(way: Way, **changes: Any) -> Sender:
    return replace(Sender(claimer(), way, batch=50, most_attempts=3, random=lambda: 0.5), **changes)


async def ask(pool: Pool, customer_id: str, *channels: Channel, template: str = "bonus", mode: Any = "all") -> None:
    """Make the messages of a journey's step."""
    (trigger,) = triggers(earned(customer_id, 5, ago(hours=1)))
    request = Request(trigger, "points_earned", None, "0", template, channels, mode, None)
    async with pool.acquire() as connection, connection.transaction():
        profiles = await customers.lock(connection, {customer_id})
        await make(Maker(library(), judge()), connection, [request], profiles, NOW)


async def register(pool: Pool, customer_id: str = "mona", **details: Any) -> None:
    usual = {"phone": "+201001234567", "email": "mona@example.org"}
    await handle(pool, registered(customer_id, ago(days=30), **(usual | details)))
    await pool.execute("DELETE FROM message")


async def subscribe(pool: Pool, provider: FakeWeb, path: str = "/push/1", customer_id: str = "mona") -> Browser:
    browser = Browser()
    given = browser.subscription(f"{provider.url}{path}")
    async with pool.acquire() as connection:
        await subscriptions.register(
            connection, Row(browser.id, customer_id, given.endpoint, given.p256dh, given.auth, NOW)
        )
    return browser


async def rows(pool: Pool, channel: str, customer_id: str = "mona") -> list[tuple[str, str | None, int]]:
    return [(row["state"], row["reason"], row["attempts"]) for row in await messages(pool, customer_id, channel)]


async def test_a_text_message_is_sent_once_in_the_customers_language(pool: Pool, provider: FakeWeb):
    await register(pool, locale="ar")
    await ask(pool, "mona", Channel.SMS)
    for _ in range(2):
        await sender(texts(provider)).run(pool, NOW)
    (request,) = provider.requests
    assert request.form == {"To": "+201001234567", "From": "+15005550006", "Body": "حصلت على 5"}
    (row,) = await messages(pool, "mona", "sms")
    assert (row["state"], row["locale"], row["due_at"]) == ("sent", "ar", None)


async def test_marketing_says_how_to_end_it(pool: Pool, provider: FakeWeb):
    await register(pool, marketing_consent={"sms": True})
    await ask(pool, "mona", Channel.SMS, template="offer")
    await sender(texts(provider)).run(pool, NOW)
    assert provider.requests[0].form["Body"] == "You earned 5 points\nSTOP ends it"


async def test_a_number_that_does_not_exist_is_suppressed(pool: Pool, provider: FakeWeb):
    provider.script = lambda _: answer(400, {"code": 21211, "message": "no", "status": 400})
    await register(pool)
    await ask(pool, "mona", Channel.SMS)
    await sender(texts(provider)).run(pool, NOW)
    assert await rows(pool, "sms") == [("failed", "rejected", 1)]
    await ask(pool, "mona", Channel.SMS)
    await sender(texts(provider)).run(pool, NOW)
    assert await rows(pool, "sms") == [("failed", "rejected", 1), ("skipped", "suppressed", 0)]
    assert len(provider.requests) == 1


async def test_a_provider_that_asks_to_wait_is_obeyed(pool: Pool, provider: FakeWeb):
    provider.script = lambda _: answer(429, retry_after="3600")
    await register(pool)
    await ask(pool, "mona", Channel.SMS)
    await sender(texts(provider)).run(pool, NOW)
    (row,) = await messages(pool, "mona", "sms")
    assert (row["state"], row["attempts"]) == ("queued", 1)
    assert timedelta(0) <= row["due_at"] - NOW - timedelta(hours=1) < timedelta(seconds=5)


async def test_refused_credentials_fail_no_message(pool: Pool, provider: FakeWeb):
    provider.script = lambda _: answer(401, {"code": 20003, "message": "Authenticate", "status": 401})
    await register(pool)
    await ask(pool, "mona", Channel.SMS)
    await sender(texts(provider)).run(pool, NOW)
    assert await rows(pool, "sms") == [("queued", None, 0)]


async def test_a_push_goes_to_all_browsers_and_those_that_ended_are_forgotten(pool: Pool, provider: FakeWeb):
    provider.script = lambda request: answer(410 if request.path == "/push/old" else 201)
    await register(pool)
    old, new = await subscribe(pool, provider, "/push/old"), await subscribe(pool, provider, "/push/new")
    await ask(pool, "mona", Channel.PUSH)
    await sender(pushes()).run(pool, NOW)
    assert await rows(pool, "push") == [("sent", None, 1)]
    (to_new,) = [request for request in provider.requests if request.path == "/push/new"]
    content = json.loads(new.decrypt(to_new.body))
    assert (content["title"], content["body"], content["url"]) == (
        "Points",
        "5 more",
        "https://shop.example.org/points",
    )
    assert 46 * 3600 < int(to_new.headers["ttl"]) <= 47 * 3600, "two days, less the hour that it is old"
    assert {row["id"] for row in await pool.fetch("SELECT id FROM push_subscription")} == {new.id}, old.id


async def test_without_a_browser_that_is_left_there_is_no_address(pool: Pool, provider: FakeWeb):
    provider.script = lambda _: answer(404)
    await register(pool)
    await subscribe(pool, provider)
    await ask(pool, "mona", Channel.PUSH)
    await sender(pushes()).run(pool, NOW)
    await ask(pool, "mona", Channel.PUSH)
    assert await rows(pool, "push") == [("failed", "rejected", 1), ("skipped", "no_address", 0)]


async def test_a_slow_provider_delays_no_other_channel(pool: Pool, provider: FakeWeb, mail_server: MailServer):
    provider.script = lambda request: HANG if "Messages" in request.path else answer(201)
    await register(pool)
    await subscribe(pool, provider)
    await ask(pool, "mona", Channel.SMS, Channel.PUSH, Channel.EMAIL)
    slow = asyncio.create_task(sender(texts(provider)).run(pool, NOW))
    await sender(pushes()).run(pool, NOW)
    await sender(Mails(library(), mail_server.channel())).run(pool, NOW)
    assert not slow.done()
    assert await rows(pool, "push") == await rows(pool, "email") == [("sent", None, 1)]
    await slow
    assert await rows(pool, "sms") == [("queued", None, 1)]


async def test_an_endpoint_that_hangs_up_delays_its_own_message_only(pool: Pool, provider: FakeWeb):
    provider.script = lambda request: CUT if request.path == "/push/bad" else answer(201)
    await register(pool)
    await register(pool, "ben")
    for customer_id, path in (("mona", "/push/bad"), ("ben", "/push/good")):
        await subscribe(pool, provider, path, customer_id)
        await ask(pool, customer_id, Channel.PUSH)
    await sender(pushes(connections=1)).run(pool, NOW)
    assert (await rows(pool, "push"), await rows(pool, "push", "ben")) == ([("queued", None, 1)], [("sent", None, 1)])


async def test_a_channel_without_a_provider_has_no_address(pool: Pool, mail_server: MailServer):
    """The first channel that can go is chosen; a message from before the setting went does not wait for ever."""
    await register(pool)
    await ask(pool, "mona", Channel.SMS)
    limits = Limits(channels=frozenset({Channel.IN_APP, Channel.EMAIL}))
    unset = replace(claimer(), judge=replace(judge(), limits=limits))
    await sender(Texts(library(), None), claimer=unset).run(pool, NOW)
    assert await rows(pool, "sms") == [("skipped", "no_address", 0)]
    await sender(Texts(library(), None)).run(pool, NOW)
    assert await rows(pool, "sms") == [("skipped", "no_address", 0)]


async def test_a_run_goes_on_while_more_is_due(pool: Pool, provider: FakeWeb):
    await register(pool)
    for _ in range(7):
        await ask(pool, "mona", Channel.SMS)
    await sender(texts(provider), batch=2).run(pool, NOW)
    assert len(provider.requests) == 2
    await sender(texts(provider), batch=2, longest=timedelta(seconds=30)).run(pool, NOW)
    assert len(provider.requests) == 7
