"""A TCP proxy in front of PostgreSQL that resets connections: at any time, or between a COMMIT and its answer."""

import asyncio
import re
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from deploy.local.ports import LOOPBACK
from tests.prove import wire
from tests.prove.wire import Message, Parser

_MOVES: Final = re.compile(rb"(?:UPDATE|INSERT INTO) position\b")
_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER without a wait: closing sends RST instead of FIN."""


@dataclass(eq=False, slots=True)
class Link:
    """A client's connection through the proxy, with its application and its transaction state."""

    client_port: int
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    application: str = ""
    in_transaction: bool = False
    moves_position: bool = False
    """Whether its transaction moves a position, and so belongs to a batch."""
    doomed: asyncio.Future[None] | None = None
    """Done when the answer to a COMMIT was held back and the connection was reset."""
    only_batches: bool = False
    commit_sent: bool = False
    movers: set[bytes] = field(default_factory=set)
    """The prepared statements that move positions."""
    from_client: Parser = field(default_factory=lambda: Parser(starts=True))
    from_server: Parser = field(default_factory=Parser)
    negotiations: int = 0
    """Number of one-byte answers (to TLS requests) that precede the messages."""
    is_open: bool = True

    def reset(self) -> None:
        """Reset the connection on both sides."""
        self.is_open = False
        for writer in (self.client, self.server):
            raw: socket.socket = writer.get_extra_info("socket")
            if raw.fileno() >= 0:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()


class Proxy:
    """Relays every connection on its port to the server's port."""

    def __init__(self, port: int, server_port: int) -> None:
        self.port = port
        self._server_port = server_port
        self._listener: asyncio.Server | None = None
        self.links: set[Link] = set()
        self.opened = 0
        """Number of connections so far."""

    async def start(self) -> None:
        """Listen."""
        self._listener = await asyncio.start_server(self._serve, LOOPBACK, self.port)

    async def stop(self) -> None:
        """Stop listening, and reset open connections."""
        if self._listener is not None:
            self._listener.close()
        for link in list(self.links):
            link.reset()

    def find(self, wanted: Callable[[Link], bool]) -> list[Link]:
        """The open connections that match a condition."""
        return [link for link in self.links if link.is_open and wanted(link)]

    def cut_at_commit(self, link: Link, *, only_batches: bool = False) -> asyncio.Future[None]:
        """Reset a connection after its next COMMIT and before the answer; the future is done when it was reset.

        With `only_batches` only the COMMIT of a transaction that moves a position counts.
        """
        link.only_batches = only_batches
        link.doomed = asyncio.get_running_loop().create_future()
        return link.doomed

    async def _serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            from_server, server = await asyncio.open_connection(LOOPBACK, self._server_port)
        except OSError:  # the server is down, so the client is disconnected too
            client.close()
            return
        self.opened += 1
        link = Link(client.get_extra_info("peername")[1], client, server)
        self.links.add(link)
        ways = [
            asyncio.create_task(_relay(reader, server, lambda data: _to_server(link, data))),
            asyncio.create_task(_relay(from_server, client, lambda data: _to_client(link, data))),
        ]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        link.is_open = False
        self.links.discard(link)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for writer in (client, server):
            writer.close()


async def _relay(source: asyncio.StreamReader, target: asyncio.StreamWriter, look: Callable[[bytes], bool]) -> None:
    """Forward bytes until either side closes, or `look` stops them."""
    try:
        while (data := await source.read(65_536)) and look(data):
            target.write(data)
            await target.drain()
    except OSError:
        return


def _to_server(link: Link, data: bytes) -> bool:
    for message in link.from_client.feed(data):
        if message.type == b"":
            _started(link, message)
        elif wire.is_commit(message):
            link.commit_sent = True
        elif (prepared := wire.prepares(message)) is not None:
            (link.movers.add if _MOVES.search(prepared[1]) else link.movers.discard)(prepared[0])
        elif wire.runs(message) in link.movers:
            link.moves_position = True
    return True


def _started(link: Link, message: Message) -> None:
    if link.from_client.starts:
        link.negotiations += 1
    else:
        link.application = wire.application(message)


def _to_client(link: Link, data: bytes) -> bool:
    messages = data
    while link.negotiations and messages:  # answered by one byte each
        link.negotiations -= 1
        messages = messages[1:]
    for message in link.from_server.feed(messages):
        if link.commit_sent and wire.is_committed(message) and _is_due(link):
            return False
        if (state := wire.is_in_transaction(message)) is not None:
            link.in_transaction, link.commit_sent = state, False
            link.moves_position = link.moves_position and state
    return True


def _is_due(link: Link) -> bool:
    """Reset the connection if its COMMIT was awaited; returns whether it was."""
    if link.doomed is None or link.doomed.done() or (link.only_batches and not link.moves_position):
        return False
    link.reset()
    link.doomed.set_result(None)
    return True
