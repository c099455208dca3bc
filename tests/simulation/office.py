"""What people do beside the events: they publish tier programs, give tiers by hand, and sweep ahead of time.

It is a process of its own, with the product's handlers and a pool: its connections are lost as those of workers are. An
act whose outcome is unknown is looked up before it is tried again.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any, Final

from asyncpg import UniqueViolationError

from services.tiers.handlers import day
from services.tiers.handlers.assigning import Given, assign
from services.tiers.handlers.opening import Call
from services.tiers.rules.program.document import ProgramDocument
from services.tiers.rules.program.kind import KIND
from services.tiers.store import programs, publications
from shared.postgres.pool import Connection, Pool, is_transient, open_pool
from shared.programs.kind import dump
from tests.points.shop import hour
from tests.prove import tiering
from tests.simulation.history import CUSTOMERS

_AGAIN_SECONDS: Final = 0.3
_PAUSES: Final = (0.0, 0.5, 3.0)
_HOURS: Final = (-30, 1, 15, 60, 120, 500)
"""When versions take effect: before, between and after the events of the shop."""
_TIERS: Final = ("member", "gold")
"""Those that every version has: one that takes effect before a tier was given must not lack it."""


IS_PUBLISHED_SQL: Final = "SELECT EXISTS (SELECT FROM document_version WHERE kind = $1 AND version = $2)"
PUBLISH_SQL: Final = """
INSERT INTO document_version (kind, id, version, document, created_at, published_at, effective_at)
VALUES ($1, '', $2, $3, $4, $4, $5)
"""
IS_ASSIGNED_SQL: Final = "SELECT EXISTS (SELECT FROM assignment WHERE note = $1)"


@dataclass(frozen=True)
class Publish:
    """A version that takes effect at an instant."""

    version: int
    effective_at: datetime
    document: dict[str, Any]


@dataclass(frozen=True)
class Assign:
    """A tier by hand, for some days if there are any."""

    number: int
    customer: str
    tier: str
    days: int
    locked: bool


@dataclass(frozen=True)
class Sweep:
    """A sweep that reaches days ahead."""

    days: int


Act = Publish | Assign | Sweep


def draw(chance: Random) -> list[Act]:
    """The acts of a seed: none for some."""
    hours = sorted(chance.sample(_HOURS, chance.choice((0, 1, 1, 2, 3))))
    documents = chance.sample((tiering.STEPWISE, *tiering.DOCUMENTS), len(hours))
    acts: list[Act] = [
        Publish(version, hour(at), document)
        for version, (at, document) in enumerate(zip(hours, documents, strict=True), 2)
    ]
    others: list[Act] = [_assign(chance, number) for number in range(chance.choice((0, 0, 1, 2)))]
    others += [Sweep(chance.choice((0, 2, 10))) for _ in range(chance.choice((0, 1, 2)))]
    for act in others:
        acts.insert(chance.randint(0, len(acts)), act)
    return acts


def _assign(chance: Random, number: int) -> Assign:
    days, locked = chance.choice((0, 0, 1, 4)), chance.random() < 0.5
    return Assign(number, chance.choice(CUSTOMERS), chance.choice(_TIERS), days, locked)


class Office:
    """Does the acts one after another, each until it is done."""

    def __init__(self, url: str, acts: Sequence[Act], clock: Callable[[], datetime], chance: Random) -> None:
        self._url, self._acts, self._clock, self._chance = url, acts, clock, chance

    async def run(self) -> None:
        """Do all acts, with pauses."""
        for act in self._acts:
            await asyncio.sleep(self._chance.choice(_PAUSES))
            await self.do(act)

    async def do(self, act: Act) -> None:
        """Do an act, again after each failure that a retry can survive."""
        while True:
            try:
                async with self._opened() as pool:
                    await self._try(pool, act)
            except Exception as error:
                # A commit that is late can make a version appear between the question for it and its publication.
                if not is_transient(error) and not isinstance(error, UniqueViolationError):
                    raise
                await asyncio.sleep(_AGAIN_SECONDS)
            else:
                return

    @asynccontextmanager
    async def _opened(self) -> AsyncGenerator[Pool]:
        pool = await open_pool(self._url, application="office", max_size=2)
        try:
            yield pool
        finally:
            pool.terminate()

    async def _try(self, pool: Pool, act: Act) -> None:
        match act:
            case Sweep():
                await day.run(pool, self._clock() + timedelta(days=act.days))
            case Publish():
                await _in_transaction(pool, lambda connection: self._publish(connection, act))
            case Assign():
                await _in_transaction(pool, lambda connection: self._assign(connection, act))

    async def _publish(self, connection: Connection, act: Publish) -> None:
        if await connection.fetchval(IS_PUBLISHED_SQL, KIND.name, act.version):
            return
        content = json.loads(json.dumps(dump(ProgramDocument.model_validate(act.document))))
        now = self._clock()
        await connection.execute(PUBLISH_SQL, KIND.name, act.version, content, now, act.effective_at)
        await publications.add(connection, act.version, act.effective_at, now)

    async def _assign(self, connection: Connection, act: Assign) -> None:
        note = f"act {act.number}"
        if await connection.fetchval(IS_ASSIGNED_SQL, note):
            return
        versions, now = await programs.load_all(connection), self._clock()
        until = now + timedelta(days=act.days) if act.days else None
        call = Call(act.customer, note, "office", now)
        await assign(connection, versions, call, Given(act.tier, until, act.locked and until is not None, note))


async def _in_transaction(pool: Pool, act: Callable[[Connection], Awaitable[None]]) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await act(connection)
