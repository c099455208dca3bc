"""Sets the timers of dates and inactivity for all customers, after a version of a journey took effect."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from services.notifications.handlers.desk import Desk
from services.notifications.handlers.people import who
from services.notifications.rules.journey.document import InactivityTrigger
from services.notifications.rules.journey.starting import Live
from services.notifications.rules.journey.timing import Timer, dates, stretches
from services.notifications.store import customers, happened, timers
from shared.contracts.envelope import Cause
from shared.postgres.pool import Connection, Pool

_AT_ONCE: Final = 1_000
"""Maximum number of customers whose timers a transaction sets."""


async def set_timers(pool: Pool, now: datetime, desk: Desk) -> None:
    """The job: set the timers of journeys whose version in force is another than the timers were set by."""
    while await _set_some(pool, now, desk):
        pass


async def _set_some(pool: Pool, now: datetime, desk: Desk) -> bool:
    async with pool.acquire() as connection, connection.transaction():
        in_force = await desk.journeys.at(connection, now)
        if not in_force.timed:
            return False
        versions = {id_: live.journey.version for id_, live in in_force.timed.items()}
        claimed = await timers.claim_setting(connection, versions)
        if claimed is None:
            return False
        journey, after = claimed
        ids = await timers.next_customers(connection, after, _AT_ONCE)
        if ids:
            new = await _timers(connection, desk, in_force.timed[journey], ids, now)
            await timers.put(connection, new)
        await timers.keep_setting(connection, journey, ids[-1] if len(ids) == _AT_ONCE else None)
        return True


async def _timers(connection: Connection, desk: Desk, live: Live, ids: Sequence[str], now: datetime) -> list[Timer]:
    start = live.journey.document.trigger
    published = f"journey/{live.id}/{live.journey.version}"
    cause = Cause(published, published)
    if isinstance(start, InactivityTrigger):
        return stretches(live, await happened.last(connection, start.of, ids), ids, cause)
    people = await who(connection, await customers.lock(connection, ids), desk.zone)
    return dates([live], people.dates.values(), dict.fromkeys(ids, cause), now)
