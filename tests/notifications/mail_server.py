"""A real SMTP server on its own port, with scripts that refuse, stall and hang up."""

import socket
import time
from collections.abc import Callable
from email import message_from_bytes, policy
from email.message import EmailMessage
from types import TracebackType
from typing import Any, Self

from aiosmtpd.controller import Controller

from services.notifications.channels.email import Email
from services.notifications.channels.email.compose import Sender
from services.notifications.channels.email.connection import Server
from services.notifications.channels.email.pool import Limits, Pool

Script = Callable[[str], str | None]
"""From a recipient to the answer (None: accepted); may raise `HangUp`."""


class HangUp(Exception):
    """The connection is cut without an answer."""


class MailServer:
    """Keeps the accepted mails; `at_recipient` and `at_data` are the scripts of its answers."""

    def __init__(self) -> None:
        self.taken: list[EmailMessage] = []
        self.connections = 0
        self.at_recipient: Script = lambda _: None
        self.at_data: Script = lambda _: None
        self.after_data: Script = lambda _: None
        self.speaks_utf8 = True
        self._opened: list[Pool] = []
        self.port = free_port()
        self._controller = self._new_controller()

    def __enter__(self) -> Self:
        self._controller.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        self._controller.stop(no_assert=True)

    def restart(self) -> None:
        self._controller = self._new_controller()
        self._controller.start()

    def at(self, timeout: float = 5.0) -> Server:
        """The address of the server."""
        return Server("127.0.0.1", self.port, None, None, "none", timeout)

    def channel(self, server: Server | None = None, connections: int = 1) -> Email:
        """The channel over this server."""
        pool = Pool(server or self.at(), Limits(connections=connections))
        self._opened.append(pool)
        return Email(Sender("Wafa <loyalty@example.org>"), pool)

    async def close_channels(self) -> None:
        """Close what the channels of the test keep open."""
        for pool in self._opened:
            await pool.close()

    async def handle_EHLO(self, _server: Any, session: Any, _envelope: Any, hostname: str, responses: list[str]):  # noqa: N802
        self.connections += 1
        session.host_name = hostname
        return responses

    async def handle_RCPT(self, server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:  # noqa: N802
        answer = self._ask(self.at_recipient, server, address)
        if answer is not None:
            return answer
        envelope.rcpt_tos.append(address)
        return "250 fine"

    async def handle_DATA(self, server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        address = envelope.rcpt_tos[0]
        answer = self._ask(self.at_data, server, address)
        if answer is not None:
            return answer
        self.taken.append(message_from_bytes(envelope.content, policy=policy.default))
        return self._ask(self.after_data, server, address) or "250 taken"

    def _ask(self, script: Script, server: Any, address: str) -> str | None:
        try:
            return script(address)
        except HangUp:
            server.transport.abort()
            return "421 gone"

    def _new_controller(self) -> Controller:
        return Controller(self, hostname="127.0.0.1", port=self.port, enable_SMTPUTF8=self.speaks_utf8)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def stall(seconds: float) -> Script:
    """A script that answers late; the mail server runs in its own thread."""

    def script(_: str) -> None:
        time.sleep(seconds)

    return script


def only(address: str, answer: str) -> Script:
    """A script that gives this answer for one recipient."""
    return lambda recipient: answer if recipient == address else None
