"""A process's connection to the database, as asyncpg uses it."""

import asyncio
from contextvars import copy_context
from typing import Any, Protocol

from tests.simulation.loop import PROCESS, Loop, Process
from tests.simulation.sessions import Session


class Answering(Protocol):
    """The server side of a connection."""

    loop: Loop

    def written(self, link: "Link") -> None: ...

    def left(self, link: "Link") -> None: ...


class Link(asyncio.Transport):
    """A transport as asyncpg uses it."""

    def __init__(self, server: Answering, protocol: Any) -> None:
        super().__init__()
        self.process: Process | None = PROCESS.get()
        self.context = copy_context()
        self.session: Session | None = None
        self.waits = False
        """Whether its statement waits for a lock."""
        self.out = bytearray()
        self.names: dict[bytes, bytes] = {}
        """The session's names of the statements that it prepared."""
        self.statements: dict[bytes, str] = {}
        self.label = ""
        self._server = server
        self._protocol = protocol
        self._closing = False

    def write(self, data: Any) -> None:
        if not self._closing:
            self.out += data
            self._server.written(self)

    def writelines(self, list_of_data: Any) -> None:
        for data in list_of_data:
            self.write(data)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self.lose(None)

    def abort(self) -> None:
        self.lose(None)

    def pause_reading(self) -> None:
        raise AssertionError("answers come whole")

    def lose(self, error: Exception | None) -> None:
        """End the connection on both sides."""
        if not self._closing:
            self._closing = True
            self._server.left(self)
            self._server.loop.call_soon(self._protocol.connection_lost, error, context=self.context)

    def take(self, answer: bytes) -> None:
        """Receive an answer."""
        if not self._closing:
            self._server.loop.call_soon(self._receive, answer, context=self.context)

    def _receive(self, answer: bytes) -> None:
        if not self._closing:
            self._protocol.data_received(answer)
