"""Sweeps what falls due by time: waits, dates and inactivity, also of customers whom nothing else touches.

It may run twice, and on several workers at once. A batch of customers is one transaction.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import structlog

from services.notifications.handlers import announcing
from services.notifications.handlers.desk import Desk
from services.notifications.handlers.moving import Mover
from services.notifications.handlers.people import who
from services.notifications.rules.journey.timing import fire
from services.notifications.store import customers, runs, timers
from shared import telemetry
from shared.postgres.pool import Connection, Pool, is_transient

_AT_ONCE: Final = 1_000
"""Maximum number of customers that a transaction sweeps."""

_CANDIDATES: Final = 4 * _AT_ONCE
"""Number of due runs among whose customers a transaction looks for those that no other sweeps."""

_TASKS: Final = 2
"""Number of transactions that sweep at the same time."""

LEFT: Final = "customers left as they are"
"""The name of the number of customers for whom it failed."""

Counts = Counter[str]
"""What a sweep did: numbers by name."""

_log = structlog.stdlib.get_logger(__name__)


async def sweep_up(pool: Pool, now: datetime, desk: Desk) -> None:
    """The job: move what has fallen due."""
    await sweep(pool, now, desk)


async def sweep(pool: Pool, now: datetime, desk: Desk) -> Counts:
    """Move everything that has fallen due by now; a customer for whom this fails is logged and rests for a while."""
    counts: Counts = Counter()
    broken: set[str] = set()

    async def work() -> None:
        while (swept := await _sweep_some(pool, now, desk, broken)) is not None:
            counts.update(swept)

    async with asyncio.TaskGroup() as group:
        for _ in range(_TASKS):
            group.create_task(work())
    return counts


async def _sweep_some(pool: Pool, now: datetime, desk: Desk, broken: set[str]) -> Counts | None:
    async with pool.acquire() as connection, connection.transaction():
        due = await runs.due_customers(connection, now, broken, _CANDIDATES)
        due = due or await timers.due_customers(connection, now, broken, _CANDIDATES)
        if not due:
            return None
        claimed = [customer_id for customer_id in await _claim(connection, due) if customer_id not in broken]
        return await _apply(connection, claimed, now, desk, broken)


async def _claim(connection: Connection, due: Sequence[str]) -> Sequence[str]:
    """Lock customers whom nobody has locked; wait for the others only where there is nobody else."""
    claimed = await runs.try_lock(connection, due, _AT_ONCE)
    return claimed or list(await customers.lock(connection, due[:_AT_ONCE]))


async def _apply(connection: Connection, due: Sequence[str], now: datetime, desk: Desk, broken: set[str]) -> Counts:
    """Move the runs of locked customers; after a failure in halves, until the broken customer is isolated."""
    if not due:
        return Counter()
    try:
        async with connection.transaction():
            return await _move(connection, due, now, desk)
    except Exception as error:
        if is_transient(error):
            raise
        if len(due) == 1:
            _log.error("journey_sweep_refused", customer_id=due[0], **telemetry.trace(error))
            broken.add(due[0])
            await runs.rest(connection, due[0], now)
            await timers.rest(connection, due[0], now)
            return Counter({LEFT: 1})
    middle = len(due) // 2
    first = await _apply(connection, due[:middle], now, desk, broken)
    return first + await _apply(connection, due[middle:], now, desk, broken)


async def _move(connection: Connection, due: Sequence[str], now: datetime, desk: Desk) -> Counts:
    live = await desk.journeys.at(connection, now)
    profiles = await customers.lock(connection, due)
    people = await who(connection, profiles, desk.zone)
    incoming, after = fire(live, await timers.load_due(connection, due, now), people.dates, now)
    outcome = await Mover(live, desk.arms, now).move(connection, people.standings, incoming)
    await timers.put(connection, after)
    publications = await desk.make(connection, outcome.requests, profiles, now)
    await announcing.announce(connection, publications, ())
    moved = {run.id for run in outcome.changed.values()} | outcome.new.keys()
    return Counter({"customers": len(due), "runs moved": len(moved), "messages asked for": len(outcome.requests)})
