"""A database that is broken on purpose, and restored afterwards."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from shared.postgres.pool import Connection, Pool


class _OnlyConnection:
    """A pool with the only connection that sees the broken state."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Connection]:
        yield self._connection


@asynccontextmanager
async def broken(pool: Pool, statements: str) -> AsyncIterator[Pool]:
    """The database after some statements, which are rolled back at the end of the context."""
    async with pool.acquire() as connection:
        # The isolation level of a snapshot, which is a savepoint within this transaction.
        undone = connection.transaction(isolation="repeatable_read")
        await undone.start()
        try:
            await connection.execute(statements)
            yield cast("Pool", _OnlyConnection(connection))
        finally:
            await undone.rollback()
