"""Text messages over Apprise, to a service of raw sockets."""

import asyncio
import json
import sys
from uuid import uuid4

import pytest

from services.notifications.channels.apprise import Apprise
from services.notifications.channels.port import PutOff, Sms, Taken
from tests.notifications.channels.web import HANG, FakeWeb, Request, answer, serving


def sms(address: str = "+201001234567") -> Sms:
    return Sms(uuid4(), address, "نقاطك 3 <b>\\n")


async def test_a_service_of_apprise_takes_a_message():
    async with serving(FakeWeb(lambda _: answer(200))) as fake:
        texts = Apprise(f"json://127.0.0.1:{fake.port}/to/{{to}}")
        assert await texts.send(sms()) == Taken()
        await texts.close()
    (request,) = fake.requests
    assert request.path == "/to/+201001234567"
    assert json.loads(request.body)["message"] == "نقاطك 3 <b>\\n"


async def test_a_service_that_refuses_puts_a_message_off():
    async with serving(FakeWeb(lambda _: answer(500))) as fake:
        texts = Apprise(f"json://127.0.0.1:{fake.port}/{{to}}")
        assert await texts.send(sms()) == PutOff("not taken")
        await texts.close()


async def test_a_slow_service_delays_no_other_message():
    def script(request: Request) -> bytes:
        return HANG if request.path == "/+1" else answer(200)

    async with serving(FakeWeb(script)) as fake:
        texts = Apprise(f"json://127.0.0.1:{fake.port}/{{to}}?retry=0", connections=2, seconds=1.0)
        slow = asyncio.create_task(texts.send(sms("+1")))
        assert [await texts.send(sms()) for _ in range(5)] == [Taken()] * 5
        assert not slow.done()
        assert await slow == PutOff("no answer in time")
        await texts.close()


@pytest.mark.parametrize("url", ["", "json://127.0.0.1/", "nonsense://{to}", "{to}"])
def test_a_url_that_apprise_does_not_know_is_refused(url: str):
    with pytest.raises(ValueError, match=r"has to name|no URL"):
        Apprise(url)


def test_without_the_extra_the_setting_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(ValueError, match=r"wafa\[apprise\]"):
        Apprise("json://127.0.0.1/{to}")
