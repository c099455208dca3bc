"""The headers and parts of a mail."""

from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import cast
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.notifications.mail import compose, without_addresses
from services.notifications.rendering import MailText, Reader
from services.notifications.rules.notice import Trigger
from tests.notifications.world import NOW, templates

ID = UUID("0199f0a0-0000-7000-8000-000000000001")
SENDER = "وفاء Wafa <loyalty@shop.example.org>"
TEXT = MailText("حصلت على 3 نقاط", "<p>مرحباً &amp; أهلاً</p>", "مرحباً & أهلاً\n", "ar")


def travelled(message: EmailMessage) -> EmailMessage:
    """The mail as the recipient's program reads it, after a server that supports 7 bits only."""
    content = message.as_bytes(policy=policy.SMTP.clone(cte_type="7bit"))
    content.decode("ascii")
    return cast("EmailMessage", message_from_bytes(content, policy=policy.default))


def test_headers():
    message = travelled(compose(ID, SENDER, "mona@example.org", TEXT, NOW))
    assert {name: str(message[name]) for name in message} == {
        "From": "وفاء Wafa <loyalty@shop.example.org>",
        "To": "mona@example.org",
        "Subject": "حصلت على 3 نقاط",
        "Date": "Sun, 01 Mar 2026 12:00:00 +0000",
        "Message-ID": "<0199f0a0-0000-7000-8000-000000000001@shop.example.org>",
        "Auto-Submitted": "auto-generated",
        "Content-Language": "ar",
        "MIME-Version": "1.0",
        "Content-Type": str(message["Content-Type"]),
    }


def test_text_and_html_are_alternatives_of_one_content_in_utf_8():
    message = travelled(compose(ID, SENDER, "mona@example.org", TEXT, NOW))
    assert message.get_content_type() == "multipart/alternative"
    plain, html = message.iter_parts()
    assert [(part.get_content_type(), part.get_content_charset()) for part in (plain, html)] == [
        ("text/plain", "utf-8"),
        ("text/html", "utf-8"),
    ]
    assert cast("EmailMessage", plain).get_content() == TEXT.text
    assert cast("EmailMessage", html).get_content().strip() == TEXT.html


@pytest.mark.parametrize("breaker", ["\r\n", "\n", "\r"])
def test_a_header_that_would_hold_a_line_break_is_refused(breaker: str):
    subject = f"You earned{breaker}Bcc: eve@example.org"
    with pytest.raises(ValueError, match="Header values"):
        compose(ID, SENDER, "mona@example.org", MailText(subject, "<p></p>", "", "en"), NOW)
    with pytest.raises(ValueError):  # noqa: PT011 the address parser has several messages for it
        compose(ID, SENDER, f"mona@example.org{breaker}Bcc: eve@example.org", TEXT, NOW)


@settings(deadline=None)  # the machine may be busy
@given(st.text(max_size=300))
def test_no_name_adds_a_header(name: str):
    text = templates().mail(Trigger.WELCOME, {}, Reader(name, "en"))
    usual = compose(ID, SENDER, "mona@example.org", templates().mail(Trigger.WELCOME, {}, Reader()), NOW)
    assert travelled(compose(ID, SENDER, "mona@example.org", text, NOW)).keys() == travelled(usual).keys()


def test_long_lines_are_folded_as_smtp_requires():
    text = MailText("word " * 100, f"<p>{'x' * 5000}</p>", "y" * 5000, "en")
    content = compose(ID, SENDER, "mona@example.org", text, NOW).as_bytes()
    assert max(len(line) for line in content.split(b"\r\n")) <= 998


@pytest.mark.parametrize(
    "said, recipient, logged",
    [
        ("550 5.1.1 <mona@example.org>: unknown", "mona@example.org", "550 5.1.1 <[address]>: unknown"),
        ("550 MONA@EXAMPLE.ORG unknown", "mona@example.org", "550 [address] unknown"),
        ("550 no such user mona here", "mona@example.org", "550 no such user [address] here"),
        ("451 SRS0=x=example.org=mona@relay.example", "mona@example.org", "451 [address]"),
        ("550 mona=example.org is on a list", "mona@example.org", "550 [address] is on a list"),
        ('550 "mona lisa"@example.org unknown', '"mona lisa"@example.org', "550 [address] unknown"),
        ("550 mona lisa unknown", '"mona lisa"@example.org', "550 [address] unknown"),
        ("550 منى@مثال.السعودية unknown", "منى@مثال.السعودية", "550 [address] unknown"),
        ("550 a@example.org is unknown at all", "a@example.org", "550 [address] is unknown at all"),
        ("454 try mx.example.org later", "mona@example.org", "454 try mx.example.org later"),
        ("550 see postmaster@relay.example", "", "550 see [address]"),
        ("550 monastery full", "mona@example.org", "550 monastery full"),
        ("550 " + "x" * 1000, "mona@example.org", "550 " + "x" * 296),
    ],
)
def test_server_answers_are_logged_without_addresses(said: str, recipient: str, logged: str):
    assert without_addresses(said, recipient) == logged
