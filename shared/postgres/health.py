"""Tells failures of the database server from failures that the work itself causes."""

import asyncio
from typing import Any, Final, cast

import asyncpg

from shared.postgres.pool import Pool

_SECONDS: Final = 2.0
_LOST: Final = "connection lost"

PROBE_SQL = """
CREATE TEMPORARY TABLE probe ON COMMIT DROP AS
SELECT sha512(number::text::bytea) AS content FROM generate_series(1, 10000) AS number
"""


async def is_well(pool: Pool) -> bool:
    """Whether a small transaction, which allocates disk space and writes WAL, succeeds within seconds."""
    try:
        async with asyncio.timeout(_SECONDS), pool.acquire() as connection, connection.transaction():
            await connection.execute(PROBE_SQL)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError):
        return False
    return True


def kind_of(error: BaseException) -> str | None:
    """The kind of a transient failure that the work itself may have caused; None if it cannot have caused it.

    Work may cause a lost connection: the kernel ends a server process that took all memory. It does not cause a server
    that shuts down, starts, has no connection left or became read-only in a failover, nor a statement canceled by hand.
    """
    if isinstance(error, asyncpg.QueryCanceledError) and "user request" in str(error):
        return None
    if isinstance(error, asyncpg.PostgresError):
        state = cast("str | None", cast("Any", error).sqlstate) or ""
        if state in {"57P01", "57P02", "57P03", "25006", "53300", "08001", "08004"}:
            return None
        return _LOST if state.startswith("08") else state
    if isinstance(error, ConnectionRefusedError):
        return None
    if isinstance(error, (asyncpg.InterfaceError, asyncpg.InternalClientError, ConnectionError)):
        return _LOST
    return type(error).__name__


def waits_for_lock(error: BaseException) -> bool:
    """Whether the failure is a timeout for a lock that another transaction holds."""
    return isinstance(error, asyncpg.LockNotAvailableError)
