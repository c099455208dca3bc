"""How many messages a caller sent as a test."""

from datetime import datetime, timedelta
from typing import Final

from shared.postgres.pool import Connection

SPAN: Final = timedelta(hours=1)

# One caller's requests one after the other: two at a time would both count the same.
LOCK_SQL = "SELECT pg_advisory_xact_lock(hashtextextended('test_send/' || $1, 0))"


async def lock(connection: Connection, principal: str) -> None:
    """Let a caller's other requests wait until the transaction ends."""
    await connection.execute(LOCK_SQL, principal)


FORGET_SQL = "DELETE FROM test_send WHERE principal = $1 AND at <= $2"


async def forget(connection: Connection, principal: str, now: datetime) -> None:
    """Remove what counts no longer."""
    await connection.execute(FORGET_SQL, principal, now - SPAN)


ADD_SQL = """
INSERT INTO test_send (principal, at)
SELECT $1, $2 WHERE (SELECT count(*) FROM test_send WHERE principal = $1) < $3
RETURNING at
"""


async def add(connection: Connection, principal: str, now: datetime, most: int) -> bool:
    """Count a message, if fewer than `most` were sent within the last hour; returns whether it was counted."""
    return await connection.fetchval(ADD_SQL, principal, now, most) is not None
