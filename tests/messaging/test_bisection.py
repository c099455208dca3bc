"""The bisection of a batch: it blames the culprit alone, and locks in the order of any other batch."""

import asyncio
from collections.abc import Collection, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import combinations
from random import Random
from typing import Any

import pytest

from shared.contracts.envelope import Event
from shared.contracts.outcomes import Refusal
from shared.contracts.shop import PurchaseCompleted
from shared.postgres.pool import Connection, Pool
from tests.messaging.log import Desk, Handler, batch, purchase

LOCK_SQL = "SELECT name FROM hot WHERE name = ANY($1::text[]) ORDER BY name FOR UPDATE"
BLOCKED_SQL = "SELECT cardinality(pg_blocking_pids($1)) > 0"


async def lock(connection: Connection, names: Collection[str]) -> None:
    await connection.execute(LOCK_SQL, list(names))


@dataclass(slots=True)
class Other:
    """Another transaction, which locks two names in order, as a batch or a request does."""

    pool: Pool
    names: tuple[str, str]
    ending: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Lock the first name, and go on until the second one is locked too, or waited for."""
        has_pid = asyncio.get_running_loop().create_future()
        self.ending = asyncio.create_task(self._run(has_pid))
        pid = await has_pid
        async with asyncio.timeout(10):
            while not self.ending.done() and not await self.pool.fetchval(BLOCKED_SQL, pid):  # noqa: ASYNC110 it can only be asked
                await asyncio.sleep(0.01)

    async def _run(self, has_pid: asyncio.Future[int]) -> None:
        async with self.pool.acquire() as connection, connection.transaction():
            await lock(connection, self.names[:1])
            has_pid.set_result(connection.get_server_pid())
            await lock(connection, self.names[1:])


@dataclass(slots=True)
class Locking(Handler):
    """Locks the customers of its events in order, then their limits, as the services do; then the other begins.

    The other begins before the first call with Ann and without Zoë.
    """

    other: Other | None = None

    async def __call__(self, connection: Connection, events: Sequence[Event], now: datetime) -> list[Refusal]:
        customers = {event.customer_id for event in events}
        if self.other is not None and self.other.ending is None and "ann" in customers and "zoe" not in customers:
            await self.other.begin()
        await lock(connection, customers)
        await lock(connection, {_limit_of(event) for event in events})
        return await Handler.__call__(self, connection, events, now)


def _limit_of(event: Event) -> str:
    assert isinstance(event.data, PurchaseCompleted)
    return event.data.order_id


@pytest.mark.parametrize("names", [("ann", "zoe"), ("limit 1", "limit 2")], ids=["customers", "limits"])
async def test_a_bisected_batch_locks_in_the_order_of_any_other(
    desk: Desk, logged: list[MutableMapping[str, Any]], names: tuple[str, str]
):
    await desk.pool.execute("ALTER ROLE CURRENT_USER SET deadlock_timeout = '50ms'")
    await desk.pool.execute("CREATE TABLE hot (name text PRIMARY KEY)")
    await desk.pool.execute(
        "INSERT INTO hot VALUES ('ann'), ('bad'), ('mia'), ('zoe'), ('limit 1'), ('limit 2'), ('limit 3')"
    )
    await desk.pool.expire_connections()
    handler = Locking(lambda event: ValueError("poison") if event.customer_id == "bad" else None)
    handler.other = Other(desk.pool, names)
    desk.delivery.handle = handler
    await desk.deliver(
        [
            purchase("1", "zoe", "limit 2"),
            purchase("2", "mia", "limit 3"),
            purchase("3", "ann", "limit 1"),
            purchase("4", "bad", "limit 3"),
        ]
    )
    assert handler.other.ending is not None, "they crossed"
    await handler.other.ending
    assert [entry for entry in logged if entry["event"] == "batch_is_retried"] == []
    assert await desk.effects() == ["1", "2", "3"]
    assert await desk.letters() == [(3, "handler_refused")]


@dataclass(slots=True)
class Conflicting(Handler):
    """Fails once a whole conflict has had its effects, and for more than `most` events at once."""

    conflicts: list[set[str]] = field(default_factory=list[set[str]])
    most: int = 500

    async def __call__(self, connection: Connection, events: Sequence[Event], now: datetime) -> list[Refusal]:
        refusals = await Handler.__call__(self, connection, events, now)
        if len(events) > self.most:
            raise OverflowError(len(events))
        ids = {row["id"] for row in await connection.fetch("SELECT id FROM effect")}
        for conflict in self.conflicts:
            if conflict <= ids:
                raise ValueError(sorted(conflict))
        return refusals


def _conflicting(desk: Desk, *conflicts: set[str]) -> Conflicting:
    handler = Conflicting(conflicts=list(conflicts))
    desk.delivery.handle = handler
    return handler


async def test_what_is_kept_is_handled_at_once(desk: Desk):
    handler = _conflicting(desk, {"a"}, {"d"})
    await desk.deliver([purchase(name, f"c-{name}") for name in "abcdef"])
    assert handler.calls[-1] == ["b", "c", "e", "f"]
    assert await desk.effects() == ["b", "c", "e", "f"]
    assert await desk.inbox() == 4


@pytest.mark.parametrize("customers", ["cccccccc", "cdcdcdcd", "ccccdddd", "ghijklmn"])
async def test_of_events_that_fail_only_together_the_last_one_is_refused(desk: Desk, customers: str):
    _conflicting(desk, {"e1", "e6"}, {"e0", "e3", "e4"})
    await desk.deliver([purchase(f"e{number}", customer) for number, customer in enumerate(customers)])
    assert await desk.letters() == [(4, "handler_refused"), (6, "handler_refused")]
    assert await desk.effects() == ["e0", "e1", "e2", "e3", "e5", "e7"]
    assert await desk.pool.fetchval('SELECT error FROM dead_letter WHERE "offset" = 6') == "ValueError: ['e1', 'e6']"


async def test_a_handler_that_fails_for_many_events_gets_fewer(desk: Desk):
    handler = _conflicting(desk, {"e7"})
    handler.most = 4
    await desk.deliver([purchase(f"e{number}", f"c{number}") for number in range(16)])
    assert await desk.effects() == [f"e{number}" for number in range(16) if number != 7]
    assert await desk.letters() == [(7, "handler_refused")]
    assert await desk.position() == 16


async def test_of_halves_the_second_is_dropped_where_the_batch_became_stale(desk: Desk):
    handler = _conflicting(desk)
    handler.most = 1
    both = await batch([purchase("a"), purchase("b")])
    assert not await desk.delivery.deliver(both, lambda _: handler.calls[-2:] == [["b"], ["a"]])
    assert await desk.effects() == ["a"]
    assert await desk.position() == 1


async def test_whatever_fails_together_only_events_of_conflicts_are_refused(desk: Desk):
    start = 0
    for seed in range(25):
        chance = Random(seed)
        ids = [f"{seed}-{number}" for number in range(chance.randint(2, 12))]
        several = [set(pair) for size in (1, 2, 3) for pair in combinations(ids, size)]
        conflicts = chance.sample(several, chance.randint(1, 2))
        _conflicting(desk, *conflicts)
        await desk.deliver([purchase(id_, f"c{chance.randint(0, 4)}") for id_ in ids], start=start or None)
        applied = set(ids) & set(await desk.effects())
        refused = {ids[offset - start] for offset, _ in await desk.letters() if offset >= start}
        assert applied | refused == set(ids)
        assert not applied & refused
        assert not any(conflict <= applied for conflict in conflicts)
        assert refused <= set[str]().union(*conflicts)
        assert len(refused) <= len(conflicts)
        start += len(ids)


async def test_what_is_kept_proves_nothing_of_those_that_failed_after_it(desk: Desk):
    _conflicting(desk, *({f"e{number}"} for number in range(60)))
    await desk.deliver([purchase("good", "good"), *(purchase(f"e{number}", f"c{number}") for number in range(60))])
    assert desk.delivery.refused_in_a_row == 60
