import asyncio
from collections.abc import AsyncIterator
from email.message import EmailMessage

import aiosmtplib
import httpx
import pytest
from aiosmtpd.smtp import SMTP

from deploy.local.mail import Mailbox, web
from deploy.local.ports import LOOPBACK


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox(kept=2)


@pytest.fixture
async def port(mailbox: Mailbox) -> AsyncIterator[int]:
    server = await asyncio.get_running_loop().create_server(lambda: SMTP(mailbox, enable_SMTPUTF8=True), LOOPBACK, 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
async def client(mailbox: Mailbox) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(web(mailbox)), base_url="http://mail") as client:
        yield client


def message(subject: str) -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "loyalty@example.org", "household-7@example.org", subject
    mail["Message-ID"] = "<7@example.org>"
    mail.set_content("مرحبا")
    mail.add_alternative('<p dir="rtl">مرحبا</p>', subtype="html")
    return mail


async def test_a_mail_is_shown_with_both_of_its_parts(port: int, client: httpx.AsyncClient):
    await aiosmtplib.send(message("نقاطك"), hostname=LOOPBACK, port=port)
    (caught,) = (await client.get("/messages")).json()
    assert (caught["to"], caught["subject"]) == ("household-7@example.org", "نقاطك")
    assert (caught["text"].strip(), caught["html"].strip()) == ("مرحبا", '<p dir="rtl">مرحبا</p>')
    assert caught["headers"]["Message-ID"] == "<7@example.org>"
    assert caught["channel"] == "email"


async def test_mails_are_newest_first_and_the_oldest_are_dropped(port: int, client: httpx.AsyncClient):
    for subject in ("one", "two", "three"):
        await aiosmtplib.send(message(subject), hostname=LOOPBACK, port=port)
    assert [mail["subject"] for mail in (await client.get("/messages")).json()] == ["three", "two"]
    assert "3 caught" in (await client.get("/")).text


async def test_mail_content_is_escaped_on_the_page(port: int, client: httpx.AsyncClient):
    await aiosmtplib.send(message("<script>alert(1)</script>"), hostname=LOOPBACK, port=port)
    page = (await client.get("/")).text
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
