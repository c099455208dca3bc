"""The work of all jobs as of an instant, to the end: timers, waits, dates, inactivity, then what is due to be sent."""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime

from services.notifications.handlers.desk import Desk
from services.notifications.handlers.sweeping import Counts, sweep
from services.notifications.handlers.timing import set_timers
from services.notifications.rules.message import Channel
from services.notifications.store import mails
from shared.postgres.pool import Pool

Send = Callable[[Pool, datetime], Awaitable[None]]
"""A channel's job: sends some of the messages that are due, and puts off those that cannot be sent now."""


async def run(pool: Pool, now: datetime, desk: Desk, channels: Mapping[Channel, Send]) -> Counts:
    """Do everything that is due by an instant. Twice is as once; an earlier instant does what was due by then."""
    await set_timers(pool, now, desk)
    counts: Counts = Counter()
    counts.update(await sweep(pool, now, desk))
    for channel, send in channels.items():
        while await _is_due(pool, channel, now):
            await send(pool, now)
            counts[f"batches by {channel}"] += 1
    return counts


async def _is_due(pool: Pool, channel: Channel, now: datetime) -> bool:
    async with pool.acquire() as connection:
        return bool(await mails.find_due(connection, channel, now, 1))
