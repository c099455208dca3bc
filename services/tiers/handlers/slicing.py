"""Works on runs over all customers, slice by slice: each in a transaction of its own, beside live traffic."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Literal
from uuid import UUID

from services.tiers.store import slices
from services.tiers.store.slices import DoneMeanwhileError, Slice
from shared.postgres.pool import Connection, Pool

_AT_ONCE: Final = 2
"""Slices that a worker works on at the same time: one is computed while the database answers for the other."""

Work = Callable[[Connection, Slice], Awaitable[Mapping[str, Any] | None]]
"""Does a slice, in the transaction that locks it; returns its outcome, None to end the run here."""

_Isolation = Literal["read_committed", "repeatable_read"]


async def work_off(pool: Pool, run_id: UUID, work: Work, *, is_snapshot: bool = False) -> None:
    """Do all slices of a run that are not done and that no other worker works on.

    With `is_snapshot`, all statements of a slice see the same instant; that is for slices that lock nothing else.
    """
    isolation = "repeatable_read" if is_snapshot else "read_committed"

    async def go_on() -> None:
        while await _do_next(pool, run_id, work, isolation):
            pass

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(go_on())
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures


async def _do_next(pool: Pool, run_id: UUID, work: Work, isolation: _Isolation) -> bool:
    """Do a slice; returns whether there may be more."""
    try:
        async with pool.acquire() as connection, connection.transaction(isolation=isolation):
            claimed = await slices.claim(connection, run_id)
            if claimed is None:
                return False
            outcome = await work(connection, claimed)
            if outcome is None:
                return False
            await slices.finish(connection, run_id, claimed.number, outcome)
    except DoneMeanwhileError:
        return True
    return True
