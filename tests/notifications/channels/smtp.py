"""A mail server of raw sockets whose every answer can be scripted, by connection and verb."""

import asyncio
import base64
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any, Final, cast

from services.notifications.channels.email.connection import Server

CUT: Final = "cut"
"""The connection is reset without an answer."""
HANG: Final = "hang"
"""No answer ever comes."""
DRIP: Final = "drip"
"""The answer comes byte by byte and has no end."""

Script = Callable[[int, str], str | None]
"""From the number of the connection (from 1) and the line to the answer; None: the usual one."""

USUAL: Final = {
    "MAIL": "250 ok",
    "RCPT": "250 ok",
    "DATA": "354 go",
    "RSET": "250 ok",
    "NOOP": "250 ok",
    "QUIT": "221 bye",
}


@dataclass
class FakeServer:
    """Speaks SMTP; the lines that it hears are in `heard` by connection, the mails that it takes in `taken`."""

    script: Script = lambda _number, _line: None
    extensions: tuple[str, ...] = ("SIZE 1000000", "SMTPUTF8", "8BITMIME")
    tls: ssl.SSLContext | None = None
    user: tuple[str, str] | None = None
    heard: list[list[str]] = field(default_factory=list[list[str]])
    taken: list[EmailMessage] = field(default_factory=list[EmailMessage])
    raw: list[bytes] = field(default_factory=list[bytes])
    port: int = 0
    open: int = 0
    most_open: int = 0

    @property
    def verbs(self) -> list[list[str]]:
        """The verbs of each connection."""
        return [[line.split(" ")[0].upper() for line in lines] for lines in self.heard]

    def at(self, **changes: Any) -> Server:
        """How to reach it."""
        usual = Server("127.0.0.1", self.port, None, None, "none", timeout=5.0)
        return replace(usual, **changes)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heard.append([])
        number = len(self.heard)
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            await self._converse(number, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.open -= 1
            writer.close()

    async def _converse(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not await self._answer(writer, self.script(number, "GREETING") or "220 fake"):
            return
        while line := (await reader.readline()).decode().rstrip("\r\n"):
            self.heard[number - 1].append(line)
            verb = line.split(" ")[0].upper()
            if not await self._answer(writer, self.script(number, line) or self._usual(line, verb)):
                return
            if verb == "STARTTLS" and self.tls is not None:
                await writer.start_tls(self.tls)
            if verb == "DATA" and self.script(number, line) is None and not await self._take(number, reader, writer):
                return
            if verb == "QUIT":
                return

    async def _take(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if self.script(number, "CONTENT") == CUT:
            await reader.read(100)
            return await self._answer(writer, CUT)
        content = (await reader.readuntil(b"\r\n.\r\n"))[:-3]
        content = content.replace(b"\r\n..", b"\r\n.")
        if (said := self.script(number, ".")) is not None and not said.startswith("250"):
            return await self._answer(writer, said)
        self.raw.append(content)
        self.taken.append(message_from_bytes(content, policy=policy.default))
        return await self._answer(writer, said or "250 taken")

    def _usual(self, line: str, verb: str) -> str:
        if verb == "EHLO":
            extensions = [*self.extensions, *(["AUTH PLAIN"] if self.user else [])]
            return "\r\n".join(f"250-{name}" for name in ("fake", *extensions)) + "\r\n250 HELP"
        if verb == "AUTH":
            said = base64.b64decode(line.split(" ")[2]).decode().split("\0")[1:]
            return "235 ok" if self.user == tuple(said) else "535 5.7.8 wrong"
        if verb == "STARTTLS":
            return "220 go" if self.tls else "502 no"
        return USUAL.get(verb, "502 what")

    async def _answer(self, writer: asyncio.StreamWriter, said: str) -> bool:
        """Whether the connection goes on."""
        if said == CUT:
            writer.transport.abort()
            return False
        if said == HANG:
            await asyncio.sleep(60)
        if said == DRIP:
            for _ in range(600):
                writer.write(b"2")
                await asyncio.sleep(0.02)
        writer.write(said.encode() + b"\r\n")
        await writer.drain()
        return not said.startswith("421")


@asynccontextmanager
async def serving(fake: FakeServer, tls: ssl.SSLContext | None = None) -> AsyncGenerator[FakeServer]:
    """Let a server listen, with TLS from the first byte if `tls` is given."""
    running: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        running.add(task)
        await fake.serve(reader, writer)
        running.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", fake.port, ssl=tls, limit=4_000_000)
    fake.port = server.sockets[0].getsockname()[1]
    try:
        yield fake
    finally:
        server.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
