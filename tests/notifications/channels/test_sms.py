"""Text messages over HTTP, as Twilio's Messages API is described."""

import asyncio
import base64
import time
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from services.notifications.channels.port import Answer, PutOff, Refused, Sms, Taken, UnreachableError
from services.notifications.channels.sms import Account, TextMessages
from tests.notifications.channels.web import CUT, DRIP, HANG, FakeWeb, Request, answer, serving

TEXT = "نقاطك 3 \u2068Mona\u2069 & co = +1"


def sms(address: str = "+201001234567", text: str = TEXT) -> Sms:
    return Sms(uuid4(), address, text)


def channel(fake: FakeWeb, sender: str = "+15005550006", **limits: Any) -> TextMessages:
    return TextMessages(Account(f"{fake.url}/", "AC123", "secret", sender), **limits)


async def send(said: bytes, **limits: Any) -> Answer:
    async with serving(FakeWeb(lambda _: said)) as fake:
        texts = channel(fake, **limits)
        try:
            return await texts.send(sms())
        finally:
            await texts.close()


def refusal(status: int, code: int, message: str = "no", **headers: str) -> bytes:
    return answer(status, {"code": code, "message": message, "more_info": "https://…", "status": status}, **headers)


async def test_the_request():
    fake = FakeWeb(lambda _: answer(201, {"sid": "SM5", "status": "queued"}))
    async with serving(fake):
        texts = channel(fake)
        assert [await texts.send(sms()) for _ in range(3)] == [Taken("SM5")] * 3
        await texts.close()
    request = fake.requests[0]
    assert (request.method, request.path) == ("POST", "/2010-04-01/Accounts/AC123/Messages.json")
    assert request.form == {"To": "+201001234567", "From": "+15005550006", "Body": TEXT}
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert base64.b64decode(request.headers["authorization"].removeprefix("Basic ")) == b"AC123:secret"
    assert fake.connections == 1


async def test_a_messaging_service_as_the_sender():
    fake = FakeWeb(lambda _: answer(201, {"sid": "SM5"}))
    service = "MG" + "0a" * 16
    async with serving(fake):
        texts = channel(fake, sender=service)
        await texts.send(sms())
        await texts.close()
    assert fake.requests[0].form == {"To": "+201001234567", "MessagingServiceSid": service, "Body": TEXT}


@pytest.mark.parametrize(
    "said, expected",
    [
        (answer(201, {"sid": "SM5"}), Taken("SM5")),
        (answer(200, {}), Taken()),
        (answer(201, ["odd"]), Taken()),
        (answer(201), Taken()),
        (answer(201, {"sid": 5}), Taken()),
        (refusal(400, 21211, "Invalid 'To' Phone Number: +20100XXXX567"), Refused("400 21211 …", bounced=True)),
        (refusal(400, 21614), Refused("400 21614 no", bounced=True)),
        (refusal(400, 21610), Refused("400 21610 no", opted_out=True)),
        (refusal(400, 21408), Refused("400 21408 no")),
        (refusal(400, 21617), Refused("400 21617 no")),
        (refusal(404, 21617), Refused("404 21617 no")),
        (answer(400), Refused("400")),
        (refusal(429, 20429, retry_after="7"), PutOff("429 20429 no", timedelta(seconds=7))),
        (refusal(400, 14107), PutOff("400 14107 no")),
        (answer(429), PutOff("429")),
        (answer(500), PutOff("500")),
        (answer(503, retry_after="99999999999999"), PutOff("503", timedelta(days=1))),
        (answer(503, retry_after="Wed, 21 Oct 2015 07:28:00 GMT"), PutOff("503", timedelta(0))),
        (answer(503, retry_after="soon"), PutOff("503")),
        (answer(503, retry_after="-5"), PutOff("503")),
    ],
)
async def test_answers(said: bytes, expected: Answer):
    given = await send(said)
    if isinstance(expected, Refused) and expected.error.endswith("…"):
        assert isinstance(given, Refused)
        assert (given.bounced, given.opted_out) == (expected.bounced, expected.opted_out)
    else:
        assert given == expected


@pytest.mark.parametrize(
    "said",
    [
        refusal(401, 20003, "Authenticate"),
        answer(401),
        answer(403),
        answer(404),
        refusal(400, 21606, "The From phone number is not valid"),
        refusal(400, 21603),
        refusal(401, 20005),
        answer(302, location="https://elsewhere.example"),
    ],
)
async def test_what_no_message_can_cause_fails_none(said: bytes):
    with pytest.raises(UnreachableError):
        await send(said)


async def test_no_number_reaches_the_log():
    said = "To +20 100 123-4567, 201001234567\nis not a mobile number " + "x" * 1000
    given = await send(refusal(400, 21614, said))
    assert isinstance(given, Refused)
    assert given.error.startswith("400 21614 To [number], [number] is not a mobile number xxx")
    assert len(given.error) == 300


@pytest.mark.parametrize(
    "said", [HANG, DRIP, CUT, b"nonsense\r\n\r\n", b"HTTP/1.1 201 x\r\ncontent-length: 9\r\n\r\n{"]
)
async def test_without_an_answer_a_message_is_put_off_in_bounded_time(said: bytes):
    started = time.monotonic()
    assert isinstance(await send(said, seconds=0.3), PutOff)
    assert time.monotonic() - started < 2


async def test_a_large_answer_is_not_read_to_its_end():
    assert await send(b"HTTP/1.1 201 x\r\ncontent-length: 90000000\r\n\r\n" + b" " * 1_000_000, seconds=5) == Taken()


async def test_a_compressed_answer_cannot_grow():
    assert await send(answer(201, {"sid": "SM5"}, content_encoding="gzip"), seconds=5) == Taken("SM5")


async def test_nobody_listens():
    with pytest.raises(UnreachableError):
        await channel(FakeWeb(port=1)).send(sms())


async def test_a_slow_message_delays_no_other():
    def script(request: Request) -> bytes:
        return HANG if request.form["To"] == "+1" else answer(201, {"sid": "SM5"})

    fake = FakeWeb(script)
    async with serving(fake):
        texts = channel(fake, connections=2, seconds=1.0)
        slow = asyncio.create_task(texts.send(sms("+1")))
        assert [await texts.send(sms()) for _ in range(20)] == [Taken("SM5")] * 20
        assert not slow.done()
        assert isinstance(await slow, PutOff)
        await texts.close()
