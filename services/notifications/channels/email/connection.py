"""A connection to the mail server (RFC 5321)."""

import asyncio
import ssl
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

import aiosmtplib
from aiosmtplib import SMTPException, SMTPHeloError

from services.notifications.channels.email.answers import describe
from services.notifications.channels.port import UnreachableError

_GOODBYE_SECONDS: Final = 2.0


@dataclass(frozen=True)
class Server:
    """How to reach the mail server; `timeout` is in seconds, for each answer."""

    host: str
    port: int
    user: str | None
    password: str | None
    tls: Literal["none", "starttls", "implicit"]
    timeout: float

    @cached_property
    def context(self) -> ssl.SSLContext | None:
        """What TLS connections check: the certificate and the host's name. Loaded once, since that takes a while."""
        return None if self.tls == "none" else ssl.create_default_context()


class Connection:
    """An open connection. `opened` and `used` are instants of the pool's clock; `sent` counts its mails.

    `is_used`: it waited for a mail, so that the server may have closed it meanwhile. `has_begun`: the content of the
    last mail was on its way, so that the server may have it without an answer.
    """

    def __init__(self, client: aiosmtplib.SMTP, now: float) -> None:
        self._client = client
        self.opened = now
        self.used = now
        self.sent = 0
        self.is_used = False
        self.has_begun = False

    @property
    def is_open(self) -> bool:
        """Whether the server has not closed it, as far as is known."""
        return self._client.is_connected

    async def send(self, sender: str, recipient: str, content: bytes) -> str:
        """Send a mail; returns the server's answer.

        Raises:
            aiosmtplib.SMTPException, OSError: the mail was not taken, or no answer says that it was.
        """
        client, self.has_begun = self._client, False
        is_international = not (sender.isascii() and recipient.isascii())
        if is_international and not client.supports_extension("smtputf8"):
            raise aiosmtplib.SMTPNotSupported("the server does not speak SMTPUTF8, which the address needs")
        encoding = "utf-8" if is_international else "ascii"
        options = ["SMTPUTF8", "BODY=8BITMIME"] if is_international else []
        if client.supports_extension("size"):
            options.append(f"SIZE={len(content)}")
        await client.mail(sender, options=options, encoding=encoding)
        await client.rcpt(recipient, encoding=encoding)
        self.has_begun = True
        self.sent += 1
        return (await client.data(content)).message

    async def reset(self) -> None:
        """Forget a mail that was not taken, so that another can be sent; closes the connection if that fails."""
        try:
            if self.is_open:
                await self._client.rset()
        except (SMTPException, OSError):
            self.close()

    async def leave(self) -> None:
        """Say goodbye and close. Every mail has its answer, so a goodbye that fails does not matter."""
        try:
            if self.is_open:
                async with asyncio.timeout(_GOODBYE_SECONDS):
                    await self._client.quit()
        except (SMTPException, OSError):
            pass
        finally:
            self.close()

    def close(self) -> None:
        """Close without a word."""
        self._client.close()


async def connect(server: Server, now: float) -> Connection:
    """Open a connection, with TLS and login as the server is reached.

    Raises:
        UnreachableError: the server does not answer, or rejects TLS or the login.
    """
    client = aiosmtplib.SMTP(
        hostname=server.host,
        port=server.port,
        username=server.user,
        password=server.password,
        timeout=server.timeout,
        use_tls=server.tls == "implicit",
        start_tls=server.tls == "starttls",
        tls_context=server.context,
    )
    try:
        await client.connect()
        if client.is_ehlo_or_helo_needed:
            await _greet(client)
    except (SMTPException, OSError) as error:
        client.close()
        raise UnreachableError(describe(error)) from error
    except BaseException:
        client.close()
        raise
    return Connection(client, now)


async def _greet(client: aiosmtplib.SMTP) -> None:
    try:
        await client.ehlo()
    except SMTPHeloError:
        await client.helo()
