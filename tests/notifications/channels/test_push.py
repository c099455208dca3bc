"""Web Push to raw sockets, read by an independent browser."""

import asyncio
import json
import time
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.local.ports import free_port
from services.notifications.channels.port import (
    Answer,
    Push,
    PutOff,
    Refused,
    Subscription,
    Taken,
    UnsendableError,
)
from services.notifications.channels.push import WebPush
from services.notifications.channels.push.encryption import (
    LARGEST_CONTENT,
    BadKeysError,
    check_keys,
    content,
    encrypt,
)
from services.notifications.channels.push.vapid import Vapid
from shared.http.guard import Guard, networks
from tests.notifications.channels.browser import Browser, decode, encode, verify_vapid
from tests.notifications.channels.web import CUT, DRIP, HANG, FakeWeb, Request, answer, serving

ID = UUID("0199f0a0-0000-7000-8000-000000000001")
KEY = encode(b"\x01" * 32)
SUBJECT = "mailto:loyalty@example.org"
BROWSER = Browser()


def push(*subscriptions: Subscription, body: str = "حصلت على 3 نقاط", **changes: Any) -> Push:
    usual: dict[str, Any] = {"title": "نقاط", "url": "https://shop.example.org/points", "language": "ar"}
    return Push(ID, subscriptions, body=body, **({"ttl": timedelta(hours=4), **usual} | changes))


def channel(**limits: Any) -> WebPush:
    return WebPush(Vapid(KEY, SUBJECT), httpx.AsyncHTTPTransport(), **limits)


async def send(fake: FakeWeb, message: Push, **limits: Any) -> Answer:
    pushes = channel(**limits)
    try:
        return await pushes.send(message)
    finally:
        await pushes.close()


async def test_a_browser_reads_what_is_pushed():
    async with serving(FakeWeb()) as fake:
        assert await send(fake, push(BROWSER.subscription(f"{fake.url}/push/1"))) == Taken()
    (request,) = fake.requests
    assert (request.method, request.path) == ("POST", "/push/1")
    assert json.loads(BROWSER.decrypt(request.body)) == {
        "id": str(ID),
        "title": "نقاط",
        "body": "حصلت على 3 نقاط",
        "lang": "ar",
        "url": "https://shop.example.org/points",
    }
    assert {name: request.headers[name] for name in ("ttl", "urgency", "topic", "content-encoding")} == {
        "ttl": "14400",
        "urgency": "normal",
        "topic": encode(ID.bytes),
        "content-encoding": "aes128gcm",
    }
    assert len(request.headers["topic"]) <= 32
    claims, key = verify_vapid(request.headers["authorization"])
    assert (claims["aud"], claims["sub"]) == (fake.url, SUBJECT)
    assert 0 < claims["exp"] - time.time() <= 24 * 3600
    assert key == Vapid(KEY, SUBJECT).public_key
    with pytest.raises(InvalidTag):
        Browser().decrypt(request.body)


def test_the_browser_of_these_tests_reads_the_example_of_rfc_8291():
    browser = Browser(
        ec.derive_private_key(int.from_bytes(decode("q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94")), ec.SECP256R1()),
        decode("BTBZMqHH6r4Tts7J_aSIgg"),
    )
    body = (
        "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl"
        "7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
    )
    assert browser.decrypt(decode(body)) == b"When I grow up, I want to be a watermelon"


def test_each_encryption_has_keys_of_its_own():
    subscription = BROWSER.subscription("https://push.example")
    first, second = (encrypt(b"hello", subscription) for _ in range(2))
    assert first[:16] != second[:16]
    assert first[21:86] != second[21:86]
    assert BROWSER.decrypt(first) == BROWSER.decrypt(second) == b"hello"


@pytest.mark.parametrize(
    "ttl, said",
    [(timedelta(seconds=-5), "0"), (timedelta(seconds=1.9), "1"), (timedelta(days=365), str(28 * 24 * 3600))],
)
async def test_how_long_a_push_service_keeps_it(ttl: timedelta, said: str):
    async with serving(FakeWeb()) as fake:
        await send(fake, push(BROWSER.subscription(fake.url), ttl=ttl, is_urgent=False, url=None))
    assert (fake.requests[0].headers["ttl"], fake.requests[0].headers["urgency"]) == (said, "low")
    assert "url" not in json.loads(BROWSER.decrypt(fake.requests[0].body))


@pytest.mark.parametrize(
    "said, expected",
    [
        (answer(201, location="https://push.example/m/1"), Taken()),
        (answer(200), Taken()),
        (answer(202), Taken()),
        (answer(204), Taken()),
        (answer(404), Refused("404", gone=(BROWSER.id,))),
        (answer(410), Refused("410", gone=(BROWSER.id,))),
        (answer(400, {"message": "Ignore this, Bcc: eve"}), Refused("400")),
        (answer(401), Refused("401")),
        (answer(403), Refused("403")),
        (answer(413), Refused("413")),
        (answer(301, location="http://127.0.0.1/"), Refused("301")),
        (answer(429, retry_after="30"), PutOff("429", timedelta(seconds=30))),
        (answer(500), PutOff("500")),
        (answer(503, retry_after="3"), PutOff("503", timedelta(seconds=3))),
    ],
)
async def test_answers(said: bytes, expected: Answer):
    async with serving(FakeWeb(lambda _: said)) as fake:
        assert await send(fake, push(BROWSER.subscription(fake.url))) == expected
    assert len(fake.requests) == 1, "no redirect is followed"


@pytest.mark.parametrize("said", [HANG, DRIP, CUT, b"nonsense\r\n\r\n"])
async def test_a_push_service_without_an_answer_puts_it_off_in_bounded_time(said: bytes):
    async with serving(FakeWeb(lambda _: said)) as fake:
        started = time.monotonic()
        assert isinstance(await send(fake, push(BROWSER.subscription(fake.url)), seconds=0.3), PutOff)
        assert time.monotonic() - started < 2


async def test_an_endpoint_where_nobody_listens_stops_no_other_message():
    assert isinstance(await send(FakeWeb(), push(BROWSER.subscription("http://127.0.0.1:1/"))), PutOff)


@pytest.mark.parametrize(
    "statuses, expected, gone",
    [
        ((201, 201), Taken, ()),
        ((201, 410), Taken, (1,)),
        ((500, 201), Taken, ()),
        ((500, 404), PutOff, (1,)),
        ((410, 404), Refused, (0, 1)),
        ((400, 410), Refused, (1,)),
        ((), Refused, ()),
    ],
)
async def test_it_goes_to_all_browsers_and_is_sent_if_one_push_service_takes_it(
    statuses: tuple[int, ...], expected: type[Answer], gone: tuple[int, ...]
):
    def script(request: Request) -> bytes:
        return answer(statuses[int(request.path[1:])])

    browsers = [Browser() for _ in statuses]
    async with serving(FakeWeb(script)) as fake:
        message = push(*(one.subscription(f"{fake.url}/{number}") for number, one in enumerate(browsers)))
        given = await send(fake, message)
    assert isinstance(given, expected)
    assert given.gone == tuple(browsers[number].id for number in gone)
    assert sorted(request.path for request in fake.requests) == [f"/{number}" for number in range(len(statuses))]


async def test_pushes_reach_public_addresses_only():
    """The endpoint is what the customer says it is: nothing inside the network hears of it."""
    inside = BROWSER.subscription(f"https://127.0.0.1:{free_port()}/")
    plain = BROWSER.subscription("http://push.example/")
    for allowed, expected in (("", Refused), ("127.0.0.0/8", PutOff)):
        pushes = WebPush(Vapid(KEY, SUBJECT), Guard(networks(allowed)).transport())
        assert isinstance(await pushes.send(push(inside)), expected)
        await pushes.close()
    pushes = WebPush(Vapid(KEY, SUBJECT), Guard().transport())
    assert await pushes.send(push(plain)) == Refused("not a public address")
    async with serving(FakeWeb()) as fake:
        pushes = WebPush(Vapid(KEY, SUBJECT), Guard(networks("127.0.0.0/8")).transport())
        assert await pushes.send(push(BROWSER.subscription(fake.url))) == Taken()
        await pushes.close()


BAD_KEYS = [
    ("", ""),
    ("!!", BROWSER.subscription("").auth),
    ("ن", BROWSER.subscription("").auth),
    (encode(b"\x04" + b"\x01" * 64), BROWSER.subscription("").auth),  # no point of the curve
    (encode(b"\x00" * 65), BROWSER.subscription("").auth),
    (BROWSER.subscription("").p256dh, encode(b"short")),
    (BROWSER.subscription("").p256dh[:-10], BROWSER.subscription("").auth),
]


@pytest.mark.parametrize("p256dh, auth", BAD_KEYS, ids=range(len(BAD_KEYS)))
async def test_keys_that_are_not_those_of_a_browser(p256dh: str, auth: str):
    with pytest.raises(BadKeysError):
        check_keys(p256dh, auth)
    async with serving(FakeWeb()) as fake:
        bad = Subscription(ID, fake.url, p256dh, auth)
        assert await send(fake, push(bad)) == Refused("not a subscription", gone=(ID,))
        assert await send(fake, push(bad, BROWSER.subscription(fake.url))) == Taken(gone=(ID,))


@settings(deadline=None)
@given(st.text(max_size=3000), st.text(max_size=100))
def test_no_content_is_too_large(body: str, title: str):
    try:
        said = content(push(body=body, title=title))
    except UnsendableError:
        assert not f"{body}{title}".isprintable()  # lone surrogates
        return
    assert len(said) <= LARGEST_CONTENT
    read = json.loads(said)["body"]
    assert read == body or (body.startswith(read[:-1]) and read.endswith("…"))
    if read != body:
        assert len(said) > LARGEST_CONTENT - 16, "no more than needed is cut"
    encrypted = encrypt(said, BROWSER.subscription("https://push.example"))
    assert len(encrypted) <= 4096
    assert BROWSER.decrypt(encrypted) == said


def test_a_title_or_a_link_that_does_not_fit_is_refused():
    for changes in ({"title": "x" * 4000}, {"url": "https://shop.example.org/" + "x" * 4000}, {"title": "\ud800"}):
        with pytest.raises(UnsendableError):
            content(push(**changes))


def test_a_vapid_token_is_made_once_for_an_origin_and_renewed_before_it_ends():
    now = [1_000_000.0]
    vapid = Vapid(KEY, SUBJECT, lambda: now[0])
    first = vapid.authorization("https://push.example/a?b")
    assert verify_vapid(first)[0]["aud"] == "https://push.example"
    assert vapid.authorization("https://push.example/other") == first
    assert verify_vapid(vapid.authorization("https://other.example:8443/x"))[0]["aud"] == "https://other.example:8443"
    now[0] += 11 * 3600 + 1
    later = vapid.authorization("https://push.example/a")
    assert later != first
    assert verify_vapid(later)[0]["exp"] == int(now[0]) + 12 * 3600


def test_tokens_of_few_origins_are_kept():
    vapid = Vapid(KEY, SUBJECT)
    for number in range(300):
        vapid.authorization(f"https://{number}.example/")
    assert len(vapid._tokens) == 256


def test_keys_in_base64url_and_pem_are_the_same():
    key = ec.derive_private_key(int.from_bytes(b"\x01" * 32), ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    assert Vapid(pem, SUBJECT).public_key == Vapid(KEY, SUBJECT).public_key == Vapid(KEY + "=", SUBJECT).public_key
    other = ec.generate_private_key(ec.SECP384R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for bad in ("", "!", "نقاط", encode(b"\x01" * 31), encode(b"\0" * 32), encode(b"\xff" * 32), other.decode()):
        with pytest.raises(ValueError, match="VAPID key"):
            Vapid(bad, SUBJECT)


async def test_a_slow_push_service_delays_no_other():
    def script(request: Request) -> bytes:
        return HANG if request.path == "/slow" else answer(201)

    async with serving(FakeWeb(script)) as fake:
        pushes = channel(seconds=1.0)
        slow = asyncio.create_task(pushes.send(push(BROWSER.subscription(f"{fake.url}/slow"))))
        for _ in range(20):
            assert await pushes.send(push(BROWSER.subscription(f"{fake.url}/quick"))) == Taken()
        assert not slow.done()
        assert isinstance(await slow, PutOff)
        await pushes.close()
