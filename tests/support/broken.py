"""A database broken on purpose, and whole again afterwards."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from shared.postgres.pool import Connection, Pool


class _One:
    """A pool of the one connection that sees what was broken."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Connection]:
        yield self._connection


@asynccontextmanager
async def broken(pool: Pool, statements: str) -> AsyncIterator[Pool]:
    """The database as some statements leave it; in the end they are undone."""
    async with pool.acquire() as connection:
        # The isolation that a snapshot asks for: within this transaction, one is a savepoint.
        undone = connection.transaction(isolation="repeatable_read")
        await undone.start()
        try:
            await connection.execute(statements)
            yield cast("Pool", _One(connection))
        finally:
            await undone.rollback()
