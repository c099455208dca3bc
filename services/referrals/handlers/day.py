"""The sweep: what falls due by time is applied, recorded and announced, also of advocates whom nothing else touches.

It may run twice, and on several workers at once. A batch of advocates is one transaction.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Final

import structlog

from services.referrals.handlers.due import AT_ONCE, Counts, settle_some
from services.referrals.rules.evidence.keys import EvidenceKey
from services.referrals.rules.referral import Referral, in_order
from services.referrals.store import locks, referrals
from shared import telemetry
from shared.postgres.pool import Connection, Pool, is_transient

_log = structlog.stdlib.get_logger(__name__)

_TASKS: Final = 2
"""Number of transactions that sweep at the same time."""

Settle = Callable[[Connection, Sequence[Referral]], Awaitable[Counts]]
"""Applies what has fallen due of referrals, whose advocates are locked."""

LEFT: Final = "advocates left as they are"
"""The name of the number of advocates for whom it failed."""


async def sweep_up(pool: Pool, now: datetime, key: EvidenceKey | None) -> None:
    """The job: apply what has fallen due."""
    await sweep(pool, now, key)


async def sweep(pool: Pool, now: datetime, key: EvidenceKey | None = None) -> Counts:
    """Apply everything that has fallen due by now; an advocate for whom this fails is logged and not changed."""
    counts: Counts = Counter()
    broken: set[str] = set()

    async def settle(connection: Connection, due: Sequence[Referral]) -> Counts:
        return await settle_some(connection, due, now, key)

    async def work() -> None:
        while (swept := await _sweep_some(pool, now, broken, settle)) is not None:
            counts.update(swept)

    async with asyncio.TaskGroup() as group:
        for _ in range(_TASKS):
            group.create_task(work())
    return counts


async def _sweep_some(pool: Pool, now: datetime, broken: set[str], settle: Settle) -> Counts | None:
    async with pool.acquire() as connection, connection.transaction():
        advocates = await referrals.due_advocates(connection, now, broken, AT_ONCE)
        if not advocates:
            return None
        # Another task may have found one broken while this one waited.
        claimed = [advocate for advocate in await _claim(connection, advocates) if advocate not in broken]
        due = await referrals.load_due(connection, claimed, (), now, AT_ONCE)
        by_advocate: dict[str, list[Referral]] = {}
        for referral in due:
            by_advocate.setdefault(referral.advocate_id, []).append(referral)
        return await _apply(connection, by_advocate, broken, settle)


async def _claim(connection: Connection, advocates: Collection[str]) -> Collection[str]:
    """Lock advocates whom nobody has locked; wait for the others only where there is nobody else."""
    claimed = await locks.try_lock(connection, advocates)
    if claimed:
        return claimed
    await locks.lock_only(connection, advocates)
    return advocates


async def _apply(connection: Connection, due: Mapping[str, list[Referral]], broken: set[str], settle: Settle) -> Counts:
    """Apply what fell due of locked advocates; after a failure in halves, until the broken advocate is isolated."""
    if not due:
        return Counter()
    try:
        async with connection.transaction():
            return await settle(connection, in_order([each for own in due.values() for each in own]))
    except Exception as error:
        if is_transient(error):
            raise
        if len(due) == 1:
            [advocate_id] = due
            _log.error("sweep_refused", customer_id=advocate_id, **telemetry.trace(error))
            broken.add(advocate_id)
            return Counter({LEFT: 1})
    names = list(due)
    middle = len(names) // 2
    first = await _apply(connection, {name: due[name] for name in names[:middle]}, broken, settle)
    return first + await _apply(connection, {name: due[name] for name in names[middle:]}, broken, settle)
