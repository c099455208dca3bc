"""A tier is read by one statement where that is enough, and right whatever happens between several."""

from datetime import datetime
from typing import Any

import pytest

from services.tiers.handlers import standing
from services.tiers.handlers.standing import Seen, read, see
from services.tiers.store import reading
from services.tiers.store.programs import Programs
from shared.postgres.pool import Pool
from tests.support.counting import Counting
from tests.tiers import what_if
from tests.tiers.applied import apply
from tests.tiers.given import publish, replace_first
from tests.tiers.programs import DEFAULT
from tests.tiers.shop import day, purchase

GIFT = {"id": "gift", "kind": "gift", "name": {"en": "Gift"}, "uses": {"count": 2, "per": "year"}}


class Watched:
    """A pool of which each connection counts its statements."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.counting: Any = None

    def acquire(self) -> "Watched":
        return self

    async def __aenter__(self) -> Any:
        self.connection = await self.pool.acquire()
        self.counting = Counting(self.connection)
        self.transactions = 0
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.pool.release(self.connection)

    def transaction(self, **options: Any) -> Any:
        self.transactions += 1
        return self.connection.transaction(**options)

    async def fetchval(self, *arguments: Any) -> Any:
        self.counting.statements += 1
        return await self.connection.fetchval(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.counting, name)


async def warm(pool: Pool) -> Programs:
    cached = Programs()
    async with pool.acquire() as connection:
        await cached.load(connection)
    return cached


async def in_transaction(pool: Pool, now: datetime) -> Seen:
    async with pool.acquire() as connection:
        return await see(connection, await Programs().load(connection), "ann", now)


async def check(pool: Pool, cached: Programs, now: datetime, expected: tuple[int, int]) -> None:
    """Check an answer, and the number of its statements and transactions."""
    watched: Any = Watched(pool)
    seen = await read(watched, cached, "ann", now)
    assert (watched.counting.statements, watched.transactions) == expected
    assert seen == await in_transaction(pool, now)


async def test_a_tier_takes_one_statement_and_what_left_the_window_two_more(tiers_pool: Pool):
    cached = await warm(tiers_pool)
    await check(tiers_pool, cached, day(1), (1, 0))
    await apply(tiers_pool, purchase("1", "600.00", day(0)), purchase("2", "100.00", day(9)), now=day(9))
    await check(tiers_pool, cached, day(20), (1, 0))
    await check(tiers_pool, cached, day(366), (3, 0))


async def test_uses_of_benefits_are_read_too(tiers_pool: Pool):
    silver = {**DEFAULT["tiers"][1], "benefits": [GIFT]}
    await replace_first(tiers_pool, {**DEFAULT, "tiers": [DEFAULT["tiers"][0], silver, DEFAULT["tiers"][2]]})
    await apply(tiers_pool, purchase("1", "600.00", day(0)), now=day(0))
    await check(tiers_pool, await warm(tiers_pool), day(20), (3, 0))


async def test_late_and_future_events_are_read_in_a_transaction(tiers_pool: Pool):
    cached = await warm(tiers_pool)
    await apply(tiers_pool, purchase("1", "600.00", day(5)), now=day(6))
    watched: Any = Watched(tiers_pool)
    seen = await read(watched, cached, "ann", day(4))
    assert (seen.status.tier.id, watched.transactions) == ("member", 1)
    await tiers_pool.execute("UPDATE customer SET rejudge_from = $1", day(5))
    seen = await read(watched, cached, "ann", day(7))
    assert (seen.status.tier.id, watched.transactions) == ("silver", 1)


async def test_a_new_version_counts_at_once(tiers_pool: Pool):
    cached = await warm(tiers_pool)
    await apply(tiers_pool, purchase("1", "600.00", day(0)), now=day(1))
    higher = what_if.changed(DEFAULT, downgrade={**DEFAULT["downgrade"], "to": "one_step"})
    await publish(tiers_pool, (day(10), higher))
    watched: Any = Watched(tiers_pool)
    assert (await read(watched, cached, "ann", day(11))).status.program.version == 2
    assert watched.transactions == 1
    assert (await read(watched, cached, "ann", day(11))).status.program.version == 2
    assert watched.transactions == 0


async def test_an_event_between_the_statements_is_noticed(tiers_pool: Pool, monkeypatch: pytest.MonkeyPatch):
    cached = await warm(tiers_pool)
    await apply(tiers_pool, purchase("1", "600.00", day(0)), purchase("2", "100.00", day(9)), now=day(9))
    is_unchanged, run = reading.is_unchanged, standing.run
    answers: list[bool] = []

    async def noted(*arguments: Any) -> bool:
        answers.append(await is_unchanged(*arguments))
        return answers[-1]

    async def run_later(connection: Any, readings: Any) -> Any:
        if not answers:
            await apply(tiers_pool, purchase("3", "50.00", day(8)), now=day(10))
        return await run(connection, readings)

    monkeypatch.setattr(reading, "is_unchanged", noted)
    monkeypatch.setattr(standing, "run", run_later)
    seen = await read(tiers_pool, cached, "ann", day(366))
    assert answers == [False]
    assert seen.status.values["spend"] == 1_500_000
