"""Conversations with mail servers, over real sockets."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from services.notifications.channels.email import Email
from services.notifications.channels.email.compose import Sender
from services.notifications.channels.email.connection import Server
from services.notifications.channels.email.pool import Limits, Pool
from services.notifications.channels.port import Answer, Mail, PutOff, Refused, Taken, UnreachableError, UnsendableError
from tests.notifications.channels import certificates
from tests.notifications.channels.smtp import CUT, DRIP, HANG, FakeServer, Script, serving
from tests.notifications.world import NOW

SENDER = Sender("Wafa <loyalty@example.org>")


def mail(address: str = "mona@example.org", **changes: Any) -> Mail:
    usual = Mail(uuid4(), address, "points", "Points", "<p>Hi</p>", "Hi", "en", None, NOW)
    return replace(usual, **changes)


def channel(server: Server, clock: Callable[[], float] = time.monotonic, **limits: Any) -> Email:
    return Email(SENDER, Pool(server, Limits(**limits), clock))


def when(verb: str, answer: str, connection: int | None = None) -> Script:
    def script(number: int, line: str) -> str | None:
        return answer if line.startswith(verb) and connection in {None, number} else None

    return script


async def send(fake: FakeServer, *mails: Mail, **limits: Any) -> list[Answer]:
    """The answers to mails that are sent one after the other."""
    async with serving(fake):
        email = channel(fake.at(), **limits)
        answers = [await email.send(one) for one in mails]
        await email.close()
    return answers


async def test_mails_go_over_one_connection():
    fake = FakeServer()
    assert await send(fake, *(mail() for _ in range(5))) == [Taken()] * 5
    assert fake.verbs == [["EHLO", *["MAIL", "RCPT", "DATA"] * 5, "QUIT"]]


async def test_a_connection_is_left_after_its_number_of_mails():
    fake = FakeServer()
    await send(fake, *(mail() for _ in range(5)), mails=2)
    assert [verbs.count("DATA") for verbs in fake.verbs] == [2, 2, 1]
    assert all(verbs[-1] == "QUIT" for verbs in fake.verbs)


@pytest.mark.parametrize(
    "instants, mails",
    [((0, 9, 18, 27), [4]), ((0, 9, 19, 28), [2, 2]), ((0, 9, 18, 24, 25, 34), [4, 2])],
)
async def test_old_and_idle_connections_are_left(instants: Sequence[float], mails: Sequence[int]):
    at = [0.0]
    fake = FakeServer()
    async with serving(fake):
        email = channel(fake.at(), lambda: at[0], age=25 if mails == [4, 2] else 100, idle=10)
        for instant in instants:
            at[0] = instant
            assert await email.send(mail()) == Taken()
        assert [verbs.count("DATA") for verbs in fake.verbs] == mails
        at[0] += 9
        await email.rest()
        assert fake.verbs[-1][-1] == "DATA"
        at[0] += 1
        await email.rest()
        assert all(verbs[-1] == "QUIT" for verbs in fake.verbs)


@pytest.mark.parametrize("answer", ["421 4.4.2 enough mails", CUT])
async def test_a_mail_goes_over_a_new_connection_where_the_server_left_the_old_one(answer: str):
    def script(number: int, line: str) -> str | None:
        return answer if number == 1 and line.startswith("MAIL") and len(fake.taken) == 2 else None

    fake = FakeServer(script)
    assert await send(fake, *(mail() for _ in range(4))) == [Taken()] * 4
    assert [verbs.count("DATA") for verbs in fake.verbs] == [2, 2]


async def test_a_connection_that_was_closed_while_it_waited():
    fake = FakeServer()
    async with serving(fake):
        email = channel(fake.at())
        await email.send(mail())
        port, server = fake.port, fake
    async with serving(FakeServer(port=port)) as second:
        assert await email.send(mail()) == Taken()
        await email.close()
    assert (len(server.taken), len(second.taken)) == (1, 1)


@pytest.mark.parametrize("answer", ["421 4.3.2 closing", CUT])
@pytest.mark.parametrize("where", ["MAIL", "RCPT"])
async def test_a_new_connection_that_ends_before_the_mail_puts_it_off(where: str, answer: str):
    fake = FakeServer(when(where, answer))
    (said,) = await send(fake, mail())
    assert isinstance(said, PutOff)
    assert len(fake.heard) == 1


@pytest.mark.parametrize("where", ["CONTENT", "."])
async def test_a_connection_lost_in_the_content_or_before_its_answer_is_not_retried_at_once(where: str):
    """The server may have the mail: only the job's next attempt repeats it, with its Message-ID."""
    fake = FakeServer(when(where, CUT, connection=1))
    same = mail(html="<p>" + "x" * 200_000)
    async with serving(fake):
        email = channel(fake.at())
        first = await email.send(same)
        assert isinstance(first, PutOff)
        assert len(fake.heard) == 1
        assert await email.send(same) == Taken()
        await email.close()
    assert fake.taken[0]["Message-ID"] == f"<{same.id}@example.org>"


@pytest.mark.parametrize("answer", [HANG, DRIP])
@pytest.mark.parametrize("where", ["MAIL", "RCPT", "DATA", "."])
async def test_a_slow_server_puts_a_mail_off_in_bounded_time(where: str, answer: str):
    fake = FakeServer(when(where, answer))
    async with serving(fake):
        email = channel(fake.at(timeout=0.2))
        started = time.monotonic()
        assert isinstance(await email.send(mail()), PutOff)
        assert time.monotonic() - started < 2
        await email.close()
    assert len(fake.heard) == 1


@pytest.mark.parametrize("answer", ["220-go on\r\nnonsense", "x" * 70_000, "2x0 what"])
async def test_what_is_no_smtp_puts_a_mail_off(answer: str):
    fake = FakeServer(when(".", answer))
    (said,) = await send(fake, mail())
    assert isinstance(said, PutOff)
    assert len(said.error) <= 300


async def test_a_slow_mail_delays_no_other():
    fake = FakeServer(when("RCPT TO:<slow", HANG))
    async with serving(fake):
        email = channel(fake.at(timeout=1.0), connections=2)
        slow = asyncio.create_task(email.send(mail("slow@example.org")))
        assert [await email.send(mail()) for _ in range(20)] == [Taken()] * 20
        assert not slow.done()
        assert isinstance(await slow, PutOff)
        await email.close()


async def test_no_more_connections_than_the_limit():
    fake = FakeServer()
    async with serving(fake):
        email = channel(fake.at(), connections=3)
        assert await asyncio.gather(*(email.send(mail()) for _ in range(60))) == [Taken()] * 60
        await email.close()
    assert fake.most_open == 3
    assert len(fake.heard) == 3


@pytest.mark.parametrize(
    "where, answer, bounced",
    [
        ("RCPT", "550 5.1.1 <mona@example.org> unknown", True),
        ("RCPT", "550 5.1.10 recipient not found", True),
        ("RCPT", "554 5.2.1 mailbox disabled", True),
        (".", "550 5.1.1 no such user after all", True),
        ("RCPT", "550 no such user", True),
        ("RCPT", "550 Requested action not taken: mailbox unavailable", True),
        ("RCPT", "550 5.7.1 blocked: see http://list.example", False),
        ("RCPT", "550 relaying denied", False),
        ("RCPT", "552 5.2.2 mailbox full", False),
        ("RCPT", "550 5.1.8 bad sender's domain", False),
        ("DATA", "554 no valid recipients", False),
        (".", "554 5.7.1 spam", False),
        ("MAIL", "552 5.3.4 too large", False),
    ],
)
async def test_permanent_refusals(where: str, answer: str, bounced: bool):
    fake = FakeServer(when(where, answer))
    first, second = await send(fake, mail(), mail())
    assert isinstance(first, Refused)
    assert isinstance(second, Refused)
    assert first.bounced == bounced
    assert "mona" not in first.error
    assert [verbs.count("RSET") for verbs in fake.verbs] == [2], "the connection goes on"


@pytest.mark.parametrize("where", ["MAIL", "RCPT", "DATA", "."])
async def test_transient_refusals(where: str):
    fake = FakeServer(when(where, "451 4.7.1 later, <mona@example.org>", connection=1))
    (said, _) = await send(fake, mail(), mail())
    assert said == PutOff("451 4.7.1 later, <[address]>")
    assert len(fake.heard) == 1


@pytest.mark.parametrize("said", ["530 5.7.0 log in", "535 5.7.8 wrong", "538 TLS first"])
@pytest.mark.parametrize("where", ["MAIL", "RCPT"])
async def test_a_server_that_wants_another_login_fails_no_mail(where: str, said: str):
    with pytest.raises(UnreachableError):
        await send(FakeServer(when(where, said)), mail())


async def test_a_refused_sender_fails_no_mail():
    """All mails have the same sender, so the settings are the cause."""
    with pytest.raises(UnreachableError, match=r"553 .*\[address\]"):
        await send(FakeServer(when("MAIL", "553 5.7.1 <loyalty@example.org> not yours")), mail())


@pytest.mark.parametrize("said", ["421 too busy", "554 go away", HANG, CUT])
async def test_a_server_that_does_not_greet_is_unreachable(said: str):
    fake = FakeServer(when("GREETING", said))
    async with serving(fake):
        with pytest.raises(UnreachableError):
            await channel(fake.at(timeout=0.3)).send(mail())


async def test_nobody_listens():
    with pytest.raises(UnreachableError):
        await channel(Server("127.0.0.1", 1, None, None, "none", 1.0)).send(mail())


async def test_a_failed_mail_gives_its_turn_back():
    fake = FakeServer(when("RCPT TO:<bad", CUT))
    async with serving(fake):
        email = channel(fake.at(), connections=1)
        for _ in range(3):
            assert isinstance(await email.send(mail("bad@example.org")), PutOff)
            with pytest.raises(UnsendableError):
                await email.send(mail(subject="a\nb"))
        assert await email.send(mail()) == Taken()
        await email.close()


async def test_a_canceled_mail_leaves_no_connection_in_the_middle_of_it():
    reached = asyncio.Event()

    def script(_: int, line: str) -> str | None:
        if not line.startswith("RCPT TO:<slow"):
            return None
        reached.set()
        return HANG

    fake = FakeServer(script)
    async with serving(fake):
        email = channel(fake.at(), connections=1)
        running = asyncio.create_task(email.send(mail("slow@example.org")))
        await asyncio.wait_for(reached.wait(), 5)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert await email.send(mail()) == Taken()
        assert [verbs.count("DATA") for verbs in fake.verbs] == [0, 1]
        await email.close()


async def test_login_over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    context, trusted = certificates.make(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    fake = FakeServer(tls=context, extensions=("STARTTLS",), user=("wafa", "secret"))
    async with serving(fake):
        email = channel(fake.at(tls="starttls", user="wafa", password="secret"))
        assert [await email.send(mail()) for _ in range(3)] == [Taken()] * 3
        await email.close()
        wrong = channel(fake.at(tls="starttls", user="wafa", password="guessed"))
        with pytest.raises(UnreachableError, match="535"):
            await wrong.send(mail())
    assert fake.verbs[0][:4] == ["EHLO", "STARTTLS", "EHLO", "AUTH"]
    assert len(fake.verbs) == 2
    implicit = FakeServer()
    async with serving(implicit, tls=context):
        email = channel(implicit.at(tls="implicit"))
        assert await email.send(mail()) == Taken()
        await email.close()


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
async def test_an_untrusted_certificate_gets_no_mail(tmp_path: Path, tls: str):
    context, _ = certificates.make(tmp_path)
    fake = FakeServer(tls=context, extensions=("STARTTLS",))
    async with serving(fake, tls=context if tls == "implicit" else None):
        with pytest.raises(UnreachableError, match=r"(?i)certificate"):
            await channel(fake.at(tls=tls)).send(mail())
    assert fake.taken == []


async def test_a_server_without_starttls_gets_no_mail():
    fake = FakeServer()
    async with serving(fake):
        with pytest.raises(UnreachableError):
            await channel(fake.at(tls="starttls")).send(mail())
    assert "MAIL" not in fake.verbs[0]


async def test_an_international_address_needs_a_server_that_speaks_utf_8():
    fake = FakeServer()
    assert await send(fake, mail("منى@example.org")) == [Taken()]
    assert fake.taken[0]["To"] == "منى@example.org"
    assert "SMTPUTF8" in fake.heard[0][1]
    plain = FakeServer(extensions=("SIZE 1000",))
    first, second = await send(plain, mail("منى@example.org"), mail())
    assert isinstance(first, Refused)
    assert not first.bounced
    assert second == Taken()


async def test_lines_of_dots_arrive():
    text = ".\n..\n.hidden\n\n.\r\n"
    fake = FakeServer()
    await send(fake, mail(text=text))
    body = fake.taken[0].get_body(("plain",))
    assert body is not None
    assert body.get_content().splitlines() == text.splitlines()
