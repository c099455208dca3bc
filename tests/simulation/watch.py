"""A connection from outside of the simulation, in a separate thread."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Self

import asyncpg

from shared.postgres.pool import prepare


class Watch:
    """A connection with blocking calls, usable from any loop."""

    def __init__(self, url: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="watch", daemon=True)
        self._url = url
        self._connection: asyncpg.Connection

    def __enter__(self) -> Self:
        self._thread.start()
        self._connection = self._wait(asyncpg.connect(self._url))
        self._wait(prepare(self._connection))
        return self

    def __exit__(self, *_: object) -> None:
        self._wait(self._connection.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def rows(self, query: str, *values: Any) -> list[Any]:
        """The rows of a query."""
        return self._wait(self._connection.fetch(query, *values))

    def value(self, query: str, *values: Any) -> Any:
        """The value of a query."""
        return self._wait(self._connection.fetchval(query, *values))

    def ask(self, question: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
        """The result of a function on a pool."""
        return self._wait(question(_Single(self._connection)))

    def run(self, statements: str) -> None:
        """Run statements without results."""
        self._wait(self._connection.execute(statements))

    def blockers(self, pid: int) -> set[int]:
        """The sessions that hold the locks that a session waits for."""
        return set(self.value("SELECT pg_blocking_pids($1)", pid))

    def cancel(self, pid: int) -> None:
        """Cancel the statement of a session."""
        self.value("SELECT pg_cancel_backend($1)", pid)

    def _wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=600)


class _Single:
    """A pool that has a single connection."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    @asynccontextmanager
    async def acquire(self) -> AsyncGenerator[asyncpg.Connection]:
        """Lend the connection."""
        yield self._connection
