"""Makes what customers are found by anew, after an upgrade."""

from datetime import datetime
from typing import Final

from services.notifications.store import customers, searching
from shared.postgres.pool import Pool

_AT_ONCE: Final = 500


async def refresh(pool: Pool, _now: datetime) -> None:
    """Job: make the rows that another version made, or that are not made yet, some customers in each transaction."""
    while True:
        async with pool.acquire() as connection, connection.transaction():
            outdated = await searching.outdated(connection, _AT_ONCE)
            if not outdated:
                return
            profiles = await customers.lock(connection, outdated)
            await searching.save(connection, list(profiles.values()))
