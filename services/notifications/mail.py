"""Composes mails and sends them to the mail server over SMTP (RFC 5321, 5322)."""

import email.policy
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from typing import Final, Literal
from uuid import UUID

import aiosmtplib
from aiosmtplib import SMTPException, SMTPNotSupported, SMTPRecipientsRefused, SMTPResponseException

from services.notifications.rendering import MailText

# RFC 4954: the server wants another login or TLS first. The mail is not the cause.
_LOGIN_REJECTED: Final = frozenset({530, 534, 535, 538})

_ADDRESS: Final = "[address]"
_LIKE_AN_ADDRESS: Final = re.compile(r"""(?:"[^"\r\n]*"|[^\s<>"'(),:;@]+)@[^\s<>"'(),:;@]+""")
_LONGEST_TEXT: Final = 300


class UnreachableError(Exception):
    """The mail server does not answer or rejects the login; the mail is not the cause."""


@dataclass(frozen=True, slots=True)
class Server:
    """How to reach the mail server; `timeout` is in seconds, for each answer."""

    host: str
    port: int
    user: str | None
    password: str | None
    tls: Literal["none", "starttls", "implicit"]
    timeout: float


@dataclass(frozen=True, slots=True)
class Taken:
    """The server accepted the mail."""


@dataclass(frozen=True, slots=True)
class PutOff:
    """The server deferred the mail (a transient error)."""

    error: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The server rejected the mail (a permanent error)."""

    error: str


Answer = Taken | PutOff | Refused


class Session:
    """An SMTP session; after a lost connection the next mail reconnects."""

    def __init__(self, client: aiosmtplib.SMTP) -> None:
        self._client = client

    async def send(self, message: EmailMessage) -> Answer:
        """Send a mail.

        Raises:
            UnreachableError: the connection is lost and cannot be restored.
        """
        if not self._client.is_connected:
            await _connect(self._client)
        try:
            await self._client.send_message(message)
        except SMTPRecipientsRefused as error:
            return _judge(error.recipients[0], message)  # a mail has one recipient
        except SMTPNotSupported as error:
            # The address needs SMTPUTF8, which this server does not speak.
            return Refused(_describe(error, message))
        except SMTPResponseException as error:
            return _judge(error, message)
        except (SMTPException, OSError) as error:
            # Connection lost or no answer in time: the server may have the mail, so the same mail is sent again.
            self._client.close()
            return PutOff(_describe(error, message))
        return Taken()


def without_addresses(text: str, recipient: str) -> str:
    """Mask addresses for the log: anything like an address, and the recipient's in every notation."""
    # Servers write the recipient with quotes, encoded (SRS, VERP: `ann=example.org@bounces…`), or only the local part.
    local, _, domain = recipient.rpartition("@")
    for part in (recipient, f"{local}={domain}", local, local.strip('"')):
        if part.strip("=@"):
            text = re.sub(rf"(?<!\w){re.escape(part)}(?!\w)", _ADDRESS, text, flags=re.IGNORECASE)
    return _LIKE_AN_ADDRESS.sub(_ADDRESS, text)[:_LONGEST_TEXT]


@asynccontextmanager
async def converse(server: Server) -> AsyncGenerator[Session]:
    """An SMTP session over one connection.

    Raises:
        UnreachableError: the server does not answer or rejects the login.
    """
    client = aiosmtplib.SMTP(
        hostname=server.host,
        port=server.port,
        username=server.user,
        password=server.password,
        timeout=server.timeout,
        use_tls=server.tls == "implicit",
        start_tls=server.tls == "starttls",
    )
    await _connect(client)
    try:
        yield Session(client)
    finally:
        await _leave(client)


def compose(message_id: UUID, sender: str, address: str, text: MailText, now: datetime) -> EmailMessage:
    """Compose a mail; the same message always has the same Message-ID.

    Raises:
        ValueError: a header would contain a line break.
    """
    name, mailbox = parseaddr(sender)
    message = EmailMessage(email.policy.SMTP)
    message["From"] = _address(name, mailbox)
    message["To"] = _address("", address)
    message["Subject"] = text.subject
    message["Date"] = format_datetime(now)
    message["Message-ID"] = f"<{message_id}@{mailbox.rpartition('@')[2]}>"
    # RFC 3834: no out-of-office replies to this.
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text.text, charset="utf-8")
    message.add_alternative(text.html, subtype="html", charset="utf-8")
    # Last: setting the content removes all `Content-` headers.
    message["Content-Language"] = text.language
    return message


def _address(name: str, mailbox: str) -> Address:
    # In one string, an address with non-ASCII letters would be refused.
    local, _, domain = mailbox.rpartition("@")
    return Address(name, local, domain)


async def _connect(client: aiosmtplib.SMTP) -> None:
    try:
        await client.connect()
    except (SMTPException, OSError) as error:
        client.close()
        raise UnreachableError(_describe(error)) from error


async def _leave(client: aiosmtplib.SMTP) -> None:
    try:
        if client.is_connected:
            await client.quit()
    except (SMTPException, OSError):
        pass  # every mail has its answer, so a failed QUIT does not matter
    finally:
        client.close()


def _judge(error: SMTPResponseException, message: EmailMessage) -> Answer:
    """RFC 5321, section 4.2.1: 5yz is permanent, everything else is transient."""
    text = _describe(error, message)
    if error.code in _LOGIN_REJECTED:
        raise UnreachableError(text) from error
    return Refused(text) if 500 <= error.code < 600 else PutOff(text)


def _describe(error: Exception, message: EmailMessage | None = None) -> str:
    """The server's answer, with addresses masked."""
    if isinstance(error, SMTPResponseException):
        text = f"{error.code} {error.message}"
    else:
        text = f"{type(error).__name__}: {error}"
    return without_addresses(text, "" if message is None else str(message["To"]))
