"""Connections to the mail server that are used again."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from services.notifications.channels.email.connection import Connection, Server, connect


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a pool: servers end connections that are old, idle or of many mails, so leave before they do.

    `age` and `idle` are in seconds.
    """

    connections: int = 4
    mails: int = 100
    age: float = 300.0
    idle: float = 20.0


class Pool:
    """At most `limits.connections` connections; the one that was used last is lent first."""

    def __init__(self, server: Server, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits
        self._server = server
        self._clock = clock
        self._turn = asyncio.Semaphore(limits.connections)
        self._free: list[Connection] = []

    @asynccontextmanager
    async def turn(self) -> AsyncGenerator[None]:
        """Wait for the right to take a connection."""
        async with self._turn:
            yield

    async def take(self, *, new: bool = False) -> Connection:
        """A connection that nobody else uses: a `new` one, or one that was used before, if there is one.

        Raises:
            UnreachableError: the server cannot be reached.
        """
        while self._free and not new:
            connection = self._free.pop()
            if not self._is_spent(connection):
                return connection
            await connection.leave()
        return await connect(self._server, self._clock())

    async def give_back(self, connection: Connection) -> None:
        """Keep a connection that can send another mail; close it otherwise."""
        connection.used, connection.is_used = self._clock(), True
        if self._is_spent(connection):
            await connection.leave()
        else:
            self._free.append(connection)

    async def rest(self) -> None:
        """Close the connections that were idle for too long."""
        spent = [connection for connection in self._free if self._is_spent(connection)]
        self._free = [connection for connection in self._free if connection not in spent]
        await asyncio.gather(*(connection.leave() for connection in spent))

    async def close(self) -> None:
        """Close all connections that nobody uses."""
        free, self._free = self._free, []
        await asyncio.gather(*(connection.leave() for connection in free))

    def _is_spent(self, connection: Connection) -> bool:
        now = self._clock()
        return (
            not connection.is_open
            or connection.sent >= self.limits.mails
            or now - connection.opened >= self.limits.age
            or now - connection.used >= self.limits.idle
        )
