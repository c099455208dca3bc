"""Upper limits of this machine: the SQL from memory, COPY, the disk and round trips."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final
from uuid import uuid4

from shared.postgres.pool import Connection
from tests.bench import cores, effects, tape
from tests.bench.figures import Figure, Measured, rate, ratio
from tests.bench.plan import Plan
from tests.bench.rounds import Results, Side, WrongEffectError
from tests.bench.tape import Take

SECONDS: Final = 1.0

_PAGE: Final = 8192
_PAGES: Final = 128

EMPTY_SQL = "INSERT INTO inbox (digest) VALUES ($1)"

INBOX_SQL = "SELECT count(*) FROM inbox"


async def sql(plan: Plan, takes: list[Take], connections: int) -> Measured:
    """Events per second of the recorded statements, on a fresh database."""
    async with plan.bed.database() as (url, pool):
        measured = await tape.play(plan.bed, url, pool, takes, connections)
        await effects.check(pool, sum(take.events for take in takes))
        return measured


def sides(plan: Plan, takes: list[Take]) -> list[Side]:
    """The limits besides the SQL on one connection, which is measured with the worker."""

    async def two() -> Mapping[str, Measured]:
        return {"SQL on 2": await sql(plan, takes, 2)}

    return [
        Side("purchases", two),
        Side("purchases", partial(_copy, plan, tape.copies(takes))),
    ]


def small_sides(plan: Plan) -> list[Side]:
    """The disk and the round trips."""
    return [Side("purchases", partial(_small, plan))]


def figures(results: Results) -> list[Figure]:
    """The rows of the table."""
    return [
        rate("limit: the same SQL from memory, 1 connection", results["SQL"], "events/s"),
        rate("limit: the same SQL from memory, 2 connections", results["SQL on 2"], "events/s"),
        ratio("limit: 2 connections / 1", results["SQL on 2"], results["SQL"]),
        rate("limit: COPY of the ledger's rows alone", results["COPY"], "events/s"),
        rate("limit: the same, in rows", results["COPY in rows"], "rows/s"),
        rate("limit: pwrite + fdatasync of a page", results["fdatasync"], "/s", "the disk of the data directory"),
        ratio("limit: Python on every core / on one", results["Python on all"], results["Python on one"]),
    ]


def round_trips(results: Results) -> list[Figure]:
    """The rows of the table that explain the peers."""
    return [
        rate("bare round trip: SELECT 1", results["SELECT 1"], "/s", "1 connection, one after the other"),
        rate("bare transaction: begin, insert a row, commit", results["transaction"], "/s", "3 round trips, 1 fsync"),
    ]


async def _copy(plan: Plan, takes: list[Take]) -> Mapping[str, Measured]:
    async with plan.bed.database() as (url, pool):
        measured = await tape.play(plan.bed, url, pool, takes)
        rows, events = tape.rows(takes), sum(take.events for take in takes)
        await effects.check_copied(pool, rows)
        return {"COPY": measured, "COPY in rows": Measured(measured.rate * rows / events)}


async def _small(plan: Plan) -> Mapping[str, Measured]:
    """The disk, and the shortest statements of a client."""
    synced = await asyncio.to_thread(_sync, str(plan.bed.postgres.data_dir / "fsync.probe"), plan.seconds(SECONDS))
    alone, together = await cores.compare(plan.seconds(SECONDS))
    async with plan.bed.database() as (_, pool), pool.acquire() as connection:
        asked = await _repeat(partial(_ask, connection), plan.seconds(SECONDS))
        began = await pool.fetchval(INBOX_SQL)
        count, seconds = await _count(partial(_commit, connection), plan.seconds(SECONDS))
        if await pool.fetchval(INBOX_SQL) - began != count:
            raise WrongEffectError(f"{count} transactions did not make as many rows")
    return {
        "fdatasync": Measured(synced),
        "Python on one": Measured(alone),
        "Python on all": Measured(together),
        "SELECT 1": Measured(asked),
        "transaction": Measured(count / seconds),
    }


def _sync(path: str, seconds: float) -> float:
    """Pages per second, written one by one and each made durable before the next."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        page = os.urandom(_PAGE)
        os.pwrite(handle, page * _PAGES, 0)  # allocated before it is written, as WAL segments are
        os.fsync(handle)
        count, begun = 0, time.perf_counter()
        while time.perf_counter() - begun < seconds:
            os.pwrite(handle, page, count % _PAGES * _PAGE)
            os.fdatasync(handle)
            count += 1
        return count / (time.perf_counter() - begun)
    finally:
        os.close(handle)
        os.unlink(path)  # noqa: PTH108 the file was opened by the same name


async def _ask(connection: Connection) -> None:
    if await connection.fetchval("SELECT 1") != 1:
        raise WrongEffectError("SELECT 1 gave something else")


async def _commit(connection: Connection) -> None:
    async with connection.transaction():
        await connection.execute(EMPTY_SQL, uuid4())


async def _repeat(once: Callable[[], Awaitable[None]], seconds: float) -> float:
    count, elapsed = await _count(once, seconds)
    return count / elapsed


async def _count(once: Callable[[], Awaitable[None]], seconds: float) -> tuple[int, float]:
    """Number of sequential repetitions, and their seconds."""
    count, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        await once()
        count += 1
    return count, time.perf_counter() - begun
