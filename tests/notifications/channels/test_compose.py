"""The headers and parts of a mail, read back as a recipient's program reads them."""

from dataclasses import replace
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any, cast
from uuid import UUID

import dkim
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.notifications.channels.email.answers import without_addresses
from services.notifications.channels.email.compose import Sender, compose
from services.notifications.channels.email.signing import Signer
from services.notifications.channels.port import Mail, UnsendableError
from tests.notifications.channels import certificates
from tests.notifications.world import NOW

SENDER = Sender("وفاء Wafa <loyalty@shop.example.org>")
CLICK = "https://shop.example.org/u/" + "eyJ0b2tlbiI6InRva2VuIn0-_~" * 12
MAIL = Mail(
    id=UUID("0199f0a0-0000-7000-8000-000000000001"),
    address="mona@example.org",
    topic="points",
    subject="حصلت على 3 نقاط",
    html="<p>مرحباً &amp; أهلاً</p>",
    text="مرحباً & أهلاً\n",
    language="ar",
    unsubscribe=CLICK,
    at=NOW,
)
NAMES = [
    *("From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "Content-Language"),
    *("List-ID", "List-Unsubscribe", "List-Unsubscribe-Post", "MIME-Version", "Content-Type"),
]


def read(content: bytes) -> EmailMessage:
    """The mail as the recipient's program reads it, after servers that support 7 bits only."""
    content.decode("ascii")
    return message_from_bytes(content, policy=policy.default)


def composed(**changes: Any) -> EmailMessage:
    return read(compose(SENDER, replace(MAIL, **changes)))


def test_headers():
    message = composed()
    assert {name: str(message[name]) for name in message} == {
        "From": "وفاء Wafa <loyalty@shop.example.org>",
        "To": "mona@example.org",
        "Subject": "حصلت على 3 نقاط",
        "Date": "Sun, 01 Mar 2026 12:00:00 +0000",
        "Message-ID": "<0199f0a0-0000-7000-8000-000000000001@shop.example.org>",
        "Auto-Submitted": "auto-generated",
        "Content-Language": "ar",
        "List-ID": "<points.shop.example.org>",
        "List-Unsubscribe": f"<{CLICK}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        "MIME-Version": "1.0",
        "Content-Type": str(message["Content-Type"]),
    }
    assert list(message) == NAMES
    assert [defect for part in message.walk() for defect in part.defects] == []


def test_one_click_stands_on_a_line_of_its_own_byte_for_byte():
    content = compose(SENDER, MAIL)
    assert (
        f"\r\nList-Unsubscribe: <{CLICK}>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n".encode() in content
    )


def test_a_mail_that_nobody_can_leave_has_no_list_headers():
    assert [name for name in composed(unsubscribe=None) if name.startswith("List")] == []


@pytest.mark.parametrize(
    "language, text", [("en", "Hello\n"), ("ar", "مرحباً & أهلاً\n"), ("en", "= café \t\n.\nFrom\n")]
)
def test_text_and_html_are_alternatives_of_one_content_in_utf_8(language: str, text: str):
    message = composed(text=text, html=f"<p>{text}</p>", language=language)
    assert message.get_content_type() == "multipart/alternative"
    plain, html = (cast("EmailMessage", part) for part in message.iter_parts())
    assert [(part.get_content_type(), part.get_content_charset()) for part in (plain, html)] == [
        ("text/plain", "utf-8"),
        ("text/html", "utf-8"),
    ]
    assert plain.get_content().replace("\r\n", "\n") == text
    assert html.get_content().replace("\r\n", "\n").strip() == f"<p>{text}</p>"


def test_english_can_be_read_in_the_source():
    assert b"\r\n<p>You earned 3 points</p>\r\n" in compose(SENDER, replace(MAIL, html="<p>You earned 3 points</p>"))


@pytest.mark.parametrize(
    "subject",
    [
        "You earned 3 points",
        "=?utf-8?q?You=0D=0ABcc:_eve@example.org?=",
        "x" * 500,
        "word " * 150 + "end",
        "\u2068Mona\u2069, حصلت على 3 نقاط " * 12 + "end",
        "😀" * 100,
    ],
    ids=("short", "encoded", "one word", "many words", "arabic", "emoji"),
)
def test_subjects_arrive_as_they_are(subject: str):
    content = compose(SENDER, replace(MAIL, subject=subject))
    assert str(read(content)["Subject"]) == subject
    head = content.partition(b"\r\n\r\n")[0]
    assert max(len(line) for line in head.split(b"\r\n") if not line.startswith(b"List-Unsubscribe: ")) <= 78


@pytest.mark.parametrize("field", ["subject", "address", "topic", "language", "unsubscribe"])
@pytest.mark.parametrize("breaker", ["\r\n", "\n", "\r", "\0", "\x0b", "\x85", "\u2028", "\ud800"])
def test_a_header_that_would_hold_a_line_break_is_refused(field: str, breaker: str):
    with pytest.raises(UnsendableError) as caught:
        composed(**{field: f"{getattr(MAIL, field)}{breaker}Bcc: eve@example.org"})
    assert "eve" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "https://a.example/ b", "https://a.example/>,<b", "/u/token", ""]
)
def test_an_unsubscribe_link_that_is_no_url_is_refused(url: str):
    with pytest.raises(UnsendableError):
        composed(unsubscribe=url)


@settings(deadline=None)  # the machine may be busy
@given(st.text(max_size=200), st.text(max_size=300), st.text(max_size=300))
def test_no_text_adds_a_header_or_a_part(subject: str, text: str, html: str):
    try:
        message = composed(subject=subject, text=text, html=html)
    except UnsendableError:
        return
    assert list(message) == NAMES
    assert len(list(message.iter_parts())) == 2
    assert str(message["Subject"]).split() == subject.split()
    for kind, said in (("plain", text), ("html", html)):
        part = message.get_body((kind,))
        assert part is not None
        lines = said.replace("\r\n", "\n").replace("\r", "\n")
        assert part.get_content().replace("\r\n", "\n") == lines.removesuffix("\n") + "\n"


def test_a_text_that_is_not_unicode_is_refused():
    with pytest.raises(UnsendableError, match="plain"):
        composed(text="\ud800")


def test_long_lines_are_folded_as_smtp_requires():
    content = compose(SENDER, replace(MAIL, html=f"<p>{'x' * 5000}</p>", text="y" * 5000))
    assert max(len(line) for line in content.split(b"\r\n")) <= 998
    assert b"\n" not in content.replace(b"\r\n", b"")


@pytest.mark.parametrize(
    "text, header",
    [
        ("loyalty@example.org", "loyalty@example.org"),
        ("Wafa <loyalty@example.org>", '"Wafa" <loyalty@example.org>'),
        ('"Wafa, \\"the\\" club" <loyalty@example.org>', '"Wafa, \\"the\\" club" <loyalty@example.org>'),
        ("Wafa <loyalty@متجر.السعودية>", '"Wafa" <loyalty@xn--pgbep1f.xn--mgberp4a5d4ar>'),
    ],
)
def test_senders(text: str, header: str):
    assert Sender(text).header == header


async def test_dkim_signs_what_rfc_8058_wants_signed():
    key = certificates.rsa_key()
    signed = await Signer(certificates.pem(key), "s1", "example.org").sign(compose(SENDER, MAIL))
    asked: list[bytes] = []

    def dns(name: bytes, **_: Any) -> bytes:
        asked.append(name)
        return certificates.dkim_record(key)

    assert dkim.verify(signed, dnsfunc=dns)
    assert asked == [b"s1._domainkey.example.org."]
    tags = str(read(signed)["DKIM-Signature"])
    names = tags.partition("h=")[2].partition(";")[0].replace(" ", "").split(":")
    assert {"from", "to", "subject", "date", "message-id", "list-unsubscribe", "list-unsubscribe-post"} <= set(names)
    for old, new in (
        (b"List-Unsubscribe-Post: List", b"List-Unsubscribe-Post: Lost"),
        (b"/u/eyJ0", b"/u/eyJ1"),
        (b"From: ", b"From: eve@example.org\r\nFrom: "),
        (b"Subject: ", b"Subject: Other\r\nSubject: "),
        (b"List-Unsubscribe: ", b"List-Unsubscribe: <https://evil.example>\r\nList-Unsubscribe: "),
        (b"Content-Language: ar", b"Content-Language: en"),
        (b"charset=utf-8", b"charset=utf-7"),
    ):
        assert old in signed
        assert not dkim.verify(signed.replace(old, new), dnsfunc=dns), old


async def test_no_unsubscribe_link_can_be_added_to_a_signed_mail_without_one():
    key = certificates.rsa_key()
    content = compose(SENDER, replace(MAIL, unsubscribe=None))
    signed = await Signer(certificates.pem(key), "s1", "example.org").sign(content)
    assert dkim.verify(signed, dnsfunc=lambda *_, **__: certificates.dkim_record(key))
    more = signed.replace(b"\r\nDate: ", b"\r\nList-Unsubscribe: <https://evil.example>\r\nDate: ")
    assert more != signed
    assert not dkim.verify(more, dnsfunc=lambda *_, **__: certificates.dkim_record(key))


@pytest.mark.parametrize("key", [b"", b"nonsense", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_key_that_cannot_be_used_is_refused_at_once(key: bytes):
    with pytest.raises(ValueError, match="DKIM"):
        Signer(key, "s1", "example.org")


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
        ("550 two\nlines\0 and \udcff", "mona@example.org", "550 two lines and"),
    ],
)
def test_server_answers_are_logged_without_addresses(said: str, recipient: str, logged: str):
    assert without_addresses(said, recipient) == logged
