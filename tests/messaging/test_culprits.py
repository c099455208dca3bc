"""A batch that keeps failing while the database is healthy is applied without the customer that causes it."""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import datetime

import asyncpg
import pytest

from shared.contracts.envelope import Event
from shared.contracts.outcomes import Refusal
from shared.messaging import culprits, deadline
from shared.messaging import delivery as delivering
from shared.postgres import health
from shared.postgres.pool import Connection, Pool
from shared.process.pulse import Pulse, interrupting
from tests.messaging.log import Desk, Handler, batch, event, fresh, purchase


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch, quick: None) -> None:
    """Shorten the time of rehearsals."""
    monkeypatch.setattr(culprits, "_LEAST_SECONDS", 0.5)
    monkeypatch.setattr(culprits, "_MOST_SECONDS", 0.5)
    monkeypatch.setattr(culprits, "_LEAST_AGAIN_SECONDS", 0.3)
    monkeypatch.setattr(delivering, "_LONGEST_PAUSE", 0.05)


def mixed(count: int, prefix: str = "e") -> list[dict]:
    """Events of some customers, every tenth of the culprit."""
    return [purchase(f"{prefix}{number}", "bad" if number % 10 == 3 else f"c{number % 40}") for number in range(count)]


def fail_for(*customers: str, by: Callable[[], Exception]) -> Callable[[Event], Exception | None]:
    return lambda item: by() if item.customer_id in customers else None


KINDS = {
    "statement timeout": lambda: asyncpg.QueryCanceledError("canceling statement due to statement timeout"),
    "out of memory": lambda: asyncpg.OutOfMemoryError("out of memory"),
    "disk full": lambda: asyncpg.DiskFullError("could not extend file"),
    "serialization": lambda: asyncpg.SerializationError("could not serialize access"),
    "idle in transaction": lambda: asyncpg.IdleInTransactionSessionTimeoutError("terminating connection"),
    "connection lost": lambda: asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
    "connection reset": lambda: ConnectionResetError("reset by peer"),
    "timeout of the client": lambda: TimeoutError("took too long"),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_only_the_culprits_events_become_dead_letters(desk: Desk, kind: str):
    desk.handler.breaks = fail_for("bad", by=KINDS[kind])
    await desk.deliver(mixed(100))
    refused = [offset for offset in range(100) if offset % 10 == 3]
    assert sorted(await desk.letters()) == [(offset, "handler_refused") for offset in refused]
    assert sorted(await desk.effects()) == sorted(f"e{number}" for number in range(100) if number not in refused)
    assert (await desk.position(), await desk.inbox()) == (100, 90)
    error = await desk.pool.fetchval("SELECT DISTINCT error FROM dead_letter")
    assert error.startswith(f"{type(KINDS[kind]()).__name__}: {KINDS[kind]()} (this customer's events failed 3 times")


async def test_dead_letters_can_be_replayed(desk: Desk):
    desk.handler.breaks = fail_for("bad", by=KINDS["out of memory"])
    await desk.deliver(mixed(20))
    desk.handler.breaks = lambda _: None
    async with desk.pool.acquire() as connection, connection.transaction():
        assert await desk.delivery.replay([event(mixed(20)[3])], connection) == []
    assert sorted(await desk.effects()) == sorted(f"e{number}" for number in range(20) if number != 13)


async def test_several_culprits_are_found_at_once(desk: Desk):
    desk.handler.breaks = fail_for("bad", "c7", "c21", by=KINDS["statement timeout"])
    await desk.deliver(mixed(80))
    refused = {offset for offset, _ in await desk.letters()}
    assert refused == {number for number in range(80) if number % 10 == 3 or number % 40 in {7, 21}}
    assert len(await desk.effects()) == 80 - len(refused)


async def test_a_slow_statement_hardly_delays_other_customers(desk: Desk):
    class Slow(Handler):
        async def __call__(self, connection: Connection, events: Sequence[Event], now: datetime) -> list[Refusal]:
            if any(item.customer_id == "bad" for item in events):
                if await connection.fetchval("SHOW statement_timeout") == "30s":
                    await connection.execute("SET LOCAL statement_timeout = 400")
                await connection.execute("SELECT pg_sleep(30)")
            return await super().__call__(connection, events, now)

    desk.delivery.handle = Slow()
    began = time.monotonic()
    await desk.deliver(mixed(500))
    assert time.monotonic() - began < 15, "thrice in its batch, once in a part, thrice alone"
    assert len(await desk.letters()) == 50
    assert len(await desk.effects()) == 450


async def test_a_suspect_does_not_delay_the_next_batch(desk: Desk):
    desk.handler.breaks = fail_for("bad", by=KINDS["statement timeout"])
    await desk.deliver(mixed(20))
    desk.handler.calls.clear()
    await desk.deliver(mixed(20, "f"), start=20)
    assert desk.handler.calls == [["f3", "f13"], [f"f{number}" for number in range(20) if number % 10 != 3]]
    assert [offset for offset, _ in await desk.letters()] == [3, 13, 23, 33]
    assert "failed 4 times" in await desk.pool.fetchval("SELECT error FROM dead_letter ORDER BY id DESC LIMIT 1")


async def test_events_of_a_recovered_suspect_are_applied_with_the_others(desk: Desk):
    desk.handler.breaks = fail_for("bad", by=KINDS["statement timeout"])
    await desk.deliver(mixed(20))
    desk.handler.breaks = lambda _: None
    await desk.deliver(mixed(20, "f"), start=20)
    assert len(await desk.letters()) == 2
    desk.handler.calls.clear()
    await desk.deliver(mixed(20, "g"), start=40)
    assert [len(call) for call in desk.handler.calls] == [20], "nobody is rehearsed any more"


async def test_nobody_is_refused_while_the_database_is_unhealthy(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    asked = 0

    async def is_well(_: Pool) -> bool:
        nonlocal asked
        asked += 1
        if asked == 8:
            desk.handler.breaks = lambda _: None
        return False

    monkeypatch.setattr(health, "is_well", is_well)
    desk.handler.breaks = fail_for("bad", by=KINDS["disk full"])
    await desk.deliver(mixed(20))
    assert asked == 8
    assert all(len(call) == 20 for call in desk.handler.calls), "nothing is rehearsed"
    assert len(await desk.effects()) == 20
    assert await desk.letters() == []


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.AdminShutdownError("terminating connection due to administrator command"),
        asyncpg.CannotConnectNowError("the database system is starting up"),
        asyncpg.ReadOnlySQLTransactionError("cannot execute INSERT in a read-only transaction"),
        asyncpg.TooManyConnectionsError("sorry, too many clients already"),
        ConnectionRefusedError("refused"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_lost_server_makes_no_culprit(desk: Desk, error: Exception):
    left = [error] * 8
    desk.handler.breaks = lambda item: left.pop() if left and item.customer_id == "bad" else None
    await desk.deliver(mixed(20))
    assert len(desk.handler.calls) == 9
    assert all(len(call) == 20 for call in desk.handler.calls), "nothing is rehearsed"
    assert await desk.letters() == []


async def test_if_all_customers_fail_none_is_a_culprit(desk: Desk):
    left = [KINDS["statement timeout"]] * 30
    desk.handler.breaks = lambda _: left.pop()() if left else None
    await desk.deliver(mixed(60))
    assert len(await desk.effects()) == 60
    assert await desk.letters() == []


async def test_the_only_customer_of_a_batch_can_be_the_culprit(desk: Desk):
    desk.handler.breaks = fail_for("bad", by=KINDS["out of memory"])
    await desk.deliver([purchase("a", "bad"), purchase("b", "bad")])
    await desk.deliver([purchase("c", "good")], start=2)
    assert await desk.letters() == [(0, "handler_refused"), (1, "handler_refused")]
    assert await desk.effects() == ["c"]


class Locking(Handler):
    """Needs a row that another transaction has locked."""

    async def __call__(self, connection: Connection, events: Sequence[Event], now: datetime) -> list[Refusal]:
        if await connection.fetchval("SHOW lock_timeout") == "0":
            await connection.execute("SET LOCAL lock_timeout = 50")
        if any(item.customer_id == "bad" for item in events):
            await connection.execute("SELECT FROM held FOR UPDATE")
        return await super().__call__(connection, events, now)


async def test_a_customer_that_waits_for_a_lock_is_no_culprit(desk: Desk):
    await desk.pool.execute("CREATE TABLE held (id int); INSERT INTO held VALUES (1)")
    desk.delivery.handle = Locking()
    async with desk.pool.acquire() as holder, holder.transaction():
        await holder.execute("SELECT FROM held FOR UPDATE")
        waiting = asyncio.create_task(desk.deliver([purchase("a", "bad")]))
        await asyncio.sleep(4)
        assert not waiting.done()
        assert not desk.delivery.healthy
    await waiting
    assert await desk.effects() == ["a"]
    assert await desk.letters() == []


async def test_a_batch_that_is_too_large_is_applied_in_parts(desk: Desk):
    class Small(Handler):
        async def __call__(self, connection: Connection, events: Sequence[Event], now: datetime) -> list[Refusal]:
            if len(events) > 30:
                raise asyncpg.OutOfMemoryError("out of memory")
            return await super().__call__(connection, events, now)

    desk.delivery.handle = Small()
    await desk.deliver([*mixed(90), b"not json"])
    assert sorted(await desk.effects()) == sorted(f"e{number}" for number in range(90))
    assert await desk.letters() == [(90, "not_json")]
    assert await desk.position() == 91


async def test_what_fails_only_together_makes_no_culprit(desk: Desk):
    class Small(Handler):
        async def __call__(self, connection: Connection, events: Sequence[Event], now: datetime) -> list[Refusal]:
            if any(item.customer_id == "bad" for item in events):
                raise asyncpg.OutOfMemoryError("out of memory")
            if len(events) > 2:
                raise OverflowError(len(events))
            return await super().__call__(connection, events, now)

    desk.delivery.handle = Small()
    await desk.deliver([purchase(f"e{number}", "bad" if number == 5 else f"c{number}") for number in range(10)])
    assert await desk.letters() == [(5, "handler_refused")]
    assert await desk.effects() == [f"e{number}" for number in range(10) if number != 5]


async def test_a_search_ends_when_the_batch_becomes_stale(desk: Desk):
    desk.handler.breaks = fail_for("bad", by=KINDS["out of memory"])
    stale = await batch(mixed(20))
    assert not await asyncio.wait_for(desk.delivery.deliver(stale, lambda _: len(desk.handler.calls) > 4), 30)
    assert len(desk.handler.calls) == 5
    assert (await desk.position(), await desk.letters()) == (None, [])


async def test_slow_failures_are_searched_by_customer_not_by_bisecting(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(delivering, "HANDLER_SECONDS", 1.0)

    class Slow(Handler):
        async def __call__(self, connection: Connection, events: Sequence[Event], now: datetime) -> list[Refusal]:
            if any(item.customer_id == "bad" for item in events):
                await asyncio.sleep(0.7)
                raise ZeroDivisionError
            return await super().__call__(connection, events, now)

    desk.delivery.handle = Slow()
    await desk.deliver(mixed(100))
    assert len(await desk.letters()) == 10
    assert len(await desk.effects()) == 90


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limit a handler's computation to half a second."""
    limit = deadline.limit
    monkeypatch.setattr(deadline, "limit", lambda seconds: limit(min(seconds, 0.5)))
    monkeypatch.setattr("shared.process.pulse._ASKED_EVERY", 0.05)
    monkeypatch.setattr("shared.process.pulse._STUCK_SECONDS", 0.2)


async def test_a_fold_that_takes_too_long_is_interrupted_and_its_customer_refused(desk: Desk, interrupted: None):
    class Computing(Handler):
        async def __call__(self, connection: Connection, events: Sequence[Event], now: datetime) -> list[Refusal]:
            until = time.monotonic() + 60
            while any(item.customer_id == "bad" for item in events) and time.monotonic() < until:
                pass
            return await super().__call__(connection, events, now)

    desk.delivery.handle = Computing()
    began = time.monotonic()
    with interrupting(Pulse()):
        await desk.deliver(mixed(100))
    assert time.monotonic() - began < 20
    assert len(await desk.letters()) == 10
    assert len(await desk.effects()) == 90
    assert "FoldTooLongError: the handler computed for" in await desk.pool.fetchval("SELECT error FROM dead_letter")


async def test_computations_outside_of_handlers_are_not_interrupted(interrupted: None):
    pulse = Pulse()
    with interrupting(pulse):
        await asyncio.sleep(0.2)
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            pass
        assert pulse.stuck > 0.5


async def test_the_probe_is_a_transaction_that_writes(desk: Desk):
    assert await health.is_well(desk.pool)
    async with desk.pool.acquire() as connection, connection.transaction(readonly=True):
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await connection.execute(health.PROBE_SQL.replace("TEMPORARY", ""))
    assert await desk.pool.fetchval("SELECT count(*) FROM pg_class WHERE relname = 'probe'") == 0


async def test_a_fresh_batch_is_not_rehearsed(desk: Desk):
    assert await desk.delivery.deliver(await batch(mixed(20)), fresh)
    assert len(desk.handler.calls) == 1
