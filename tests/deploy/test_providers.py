"""The catcher takes text messages and pushes of the product's own channels."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from deploy.local.browsers import LARGEST_PUSH
from deploy.local.mail import Mailbox, web
from services.notifications.channels.port import Push, Refused, Sms, Subscription, Taken, UnreachableError
from services.notifications.channels.push import WebPush
from services.notifications.channels.push.encryption import encrypt
from services.notifications.channels.push.vapid import Vapid, encode
from services.notifications.channels.sms import Account, TextMessages

BASE = "http://127.0.0.1:8025"
ACCOUNT = "/2010-04-01/Accounts/AC1/Messages.json"
VAPID = Vapid(encode(b"\x01" * 32), "mailto:loyalty@example.org")


@pytest.fixture
def transport() -> httpx.ASGITransport:
    return httpx.ASGITransport(web(Mailbox()))


@pytest.fixture
async def client(transport: httpx.ASGITransport) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:
        yield client


async def caught(client: httpx.AsyncClient, channel: str) -> list[dict[str, Any]]:
    answer = await client.get("/messages", params={"channel": channel})
    return answer.json()


def texts(transport: httpx.ASGITransport, token: str = "token") -> TextMessages:
    return TextMessages(Account(BASE, "AC1", token, "+15005550006"), transport=transport)


async def test_a_text_message_is_caught(transport: httpx.ASGITransport, client: httpx.AsyncClient):
    answer = await texts(transport).send(Sms(uuid4(), "+201001234567", "نقاطك 3"))
    (row,) = await caught(client, "sms")
    assert answer == Taken(row["sid"])
    assert row == {
        "channel": "sms",
        "to": "+201001234567",
        "from": "+15005550006",
        "subject": "",
        "text": "نقاطك 3",
        "html": "",
        "headers": {},
        "sid": row["sid"],
        "segments": 1,
    }
    assert await caught(client, "email") == await caught(client, "push") == []
    assert "نقاطك 3" in (await client.get("/")).text


@pytest.mark.parametrize(
    "to, expected",
    [
        ("+15005550001", Refused("400 21211 Invalid 'To' Phone Number", bounced=True)),
        ("+15005550009", Refused("400 21614 'To' number is not a valid mobile number", bounced=True)),
        ("+15005550004", Refused("400 21610 Attempt to send to unsubscribed recipient", opted_out=True)),
        ("+15005550002", Refused("400 21612 The 'To' phone number is not currently reachable via SMS")),
        ("0100 123", Refused("400 21211 Invalid 'To' Phone Number: [number]", bounced=True)),
    ],
)
async def test_numbers_that_are_refused(
    transport: httpx.ASGITransport, client: httpx.AsyncClient, to: str, expected: Refused
):
    assert await texts(transport).send(Sms(uuid4(), to, "Hi")) == expected
    assert await caught(client, "sms") == []


@pytest.mark.parametrize("text", ["", "x" * 1601, "x" * 40_000])
async def test_texts_that_are_refused(transport: httpx.ASGITransport, text: str):
    assert isinstance(await texts(transport).send(Sms(uuid4(), "+201001234567", text)), Refused)


async def test_wrong_credentials(transport: httpx.ASGITransport, client: httpx.AsyncClient):
    with pytest.raises(UnreachableError, match="20003"):
        await texts(transport, token="").send(Sms(uuid4(), "+201001234567", "Hi"))
    for header in ("", "Basic", "Basic !", "Bearer AC1:x", "Basic QUMyOng="):  # the last is of AC2
        answer = await client.post(ACCOUNT, headers={"Authorization": header}, data={"To": "+201001234567"})
        assert answer.status_code == 401


async def subscribe(client: httpx.AsyncClient) -> Subscription:
    answer = await client.post("/push-subscriptions")
    assert answer.status_code == 201
    given = answer.json()
    return Subscription(uuid4(), given["endpoint"], given["keys"]["p256dh"], given["keys"]["auth"])


def push(*subscriptions: Subscription) -> Push:
    return Push(uuid4(), subscriptions, "نقاط", "حصلت على 3", "https://shop.example.org", "ar", timedelta(hours=4))


async def test_a_push_is_caught(transport: httpx.ASGITransport, client: httpx.AsyncClient):
    first, second = await subscribe(client), await subscribe(client)
    message = push(first, second)
    pushes = WebPush(VAPID, transport)
    assert await pushes.send(message) == Taken()
    rows = await caught(client, "push")
    assert {row["to"] for row in rows} == {first.endpoint, second.endpoint}
    content = {"id": str(message.id), "title": "نقاط", "body": "حصلت على 3", "lang": "ar"}
    assert rows[0]["content"] == content | {"url": "https://shop.example.org"}
    assert (rows[0]["subject"], rows[0]["text"]) == ("نقاط", "حصلت على 3")
    assert (rows[0]["headers"]["ttl"], rows[0]["headers"]["urgency"]) == ("14400", "normal")


async def test_a_browser_that_unsubscribed_is_gone(transport: httpx.ASGITransport, client: httpx.AsyncClient):
    left, stays = await subscribe(client), await subscribe(client)
    assert (await client.delete(left.endpoint)).status_code == 204
    pushes = WebPush(VAPID, transport)
    assert await pushes.send(push(left)) == Refused("410", gone=(left.id,))
    assert await pushes.send(push(left, stays)) == Taken(gone=(left.id,))
    stranger = Subscription(uuid4(), f"{BASE}/push/nobody", stays.p256dh, stays.auth)
    assert await pushes.send(push(stranger)) == Refused("404", gone=(stranger.id,))
    assert (await client.delete("/push/nobody")).status_code == 404


async def test_pushes_that_are_refused(client: httpx.AsyncClient):
    browser, other = await subscribe(client), await subscribe(client)
    usual = {"TTL": "5", "Content-Encoding": "aes128gcm", "Authorization": VAPID.authorization(BASE)}
    body = encrypt(json.dumps({"title": "Hi"}).encode(), browser)

    async def status(body: bytes = body, **changes: str) -> int:
        return (await client.post(browser.endpoint, content=body, headers=usual | changes)).status_code

    assert await status() == 201
    assert await status(TTL="x") == 400
    assert await status(**{"Content-Encoding": "aesgcm"}) == 415
    assert await status(Authorization="") == 401
    for wrong in (
        VAPID.authorization("https://elsewhere.example"),
        VAPID.authorization(BASE).replace("k=", "k=A"),
        VAPID.authorization(BASE).replace("t=", "t=e"),
        Vapid(encode(b"\x01" * 32), "mailto:a@b.example", lambda: 0.0).authorization(BASE),
        "vapid",
    ):
        assert await status(Authorization=wrong) == (401 if wrong == "" else 403), wrong
    assert await status(b"\0" * (LARGEST_PUSH + 1)) == 413
    for wrong in (b"", b"x" * 100, encrypt(b"{}", other), encrypt(b"5", browser), body[:-1]):
        assert await status(wrong) == 400
    assert len(await caught(client, "push")) == 1
