"""Works on runs over all customers, slice by slice: each in a transaction of its own, beside live traffic."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal
from uuid import UUID

from services.tiers.store import slices
from services.tiers.store.slices import DoneMeanwhileError, Slice
from shared.postgres.pool import Connection, Pool

_AT_ONCE: Final = 2
"""Slices that a worker works on at the same time: one is computed while the database answers for the other."""


async def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Run:
    """A run over all customers, which has its slices.

    `work` does a slice in the transaction that locks it, and returns its outcome. `goes_on` is asked before each slice,
    without a connection, whether the run is to go on. With `repeatable_read`, all statements of a slice see the same
    instant; that is for slices that lock nothing else.
    """

    id: UUID
    work: Callable[[Connection, Slice], Awaitable[Mapping[str, Any]]]
    goes_on: Callable[[], Awaitable[bool]] = _always
    isolation: Literal["read_committed", "repeatable_read"] = "read_committed"


async def work_off(pool: Pool, run: Run) -> None:
    """Do all slices of a run that are not done and that no other worker works on."""

    async def go_on() -> None:
        while await run.goes_on() and await _do_next(pool, run):
            pass

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(go_on())
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures


async def _do_next(pool: Pool, run: Run) -> bool:
    """Do a slice; returns whether there may be more."""
    try:
        async with pool.acquire() as connection, connection.transaction(isolation=run.isolation):
            claimed = await slices.claim(connection, run.id)
            if claimed is None:
                return False
            outcome = await run.work(connection, claimed)
            await slices.finish(connection, run.id, claimed.number, outcome)
    except DoneMeanwhileError:
        pass
    return True
