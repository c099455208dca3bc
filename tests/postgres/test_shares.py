"""No caller takes all connections, and waiting is bounded."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from shared.postgres import shares
from shared.postgres.pool import Pool, is_transient
from shared.postgres.shares import CALLER, BusyError, Caller, Shares, open_shared_pool
from tests.support.postgres import make_database

SIZE = 4


@pytest.fixture
async def pool(postgres_url: str) -> AsyncIterator[Pool]:
    async with await open_shared_pool(
        await make_database(postgres_url, "platform"), application="test", max_size=SIZE
    ) as opened:
        yield opened


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limit waiting to a tenth of a second."""
    monkeypatch.setattr(shares, "WAIT_SECONDS", 0.1)


def writer(customer: str | None = "ann", principal: str = "key:shop") -> Caller:
    return Caller(principal, customer, writes=True)


def reader(principal: str = "key:shop") -> Caller:
    return Caller(principal, None, writes=False)


async def hold(pool: Pool, caller: Caller | None, done: asyncio.Event) -> bool:
    """Hold a connection as a caller until done; returns False if it got none."""
    CALLER.set(caller)
    try:
        async with pool.acquire() as connection:
            assert await connection.fetchval("SELECT 1") == 1
            await done.wait()
    except BusyError:
        return False
    return True


async def held(pool: Pool, *callers: Caller | None) -> list[bool]:
    """Whether each of these concurrent callers gets a connection."""
    done = asyncio.Event()
    tasks = [asyncio.create_task(hold(pool, caller, done)) for caller in callers]
    await asyncio.sleep(0.4)
    done.set()
    return list(await asyncio.gather(*tasks))


async def test_one_customers_writes_take_two_connections(pool: Pool, impatient: None):
    assert await held(pool, *[writer()] * 6) == [True, True, False, False, False, False]


async def test_writes_leave_a_connection_to_reads(pool: Pool, impatient: None):
    writers = [writer(f"c{number}", f"key:{number}") for number in range(6)]
    assert await held(pool, *writers, reader()) == [True] * 3 + [False] * 3 + [True]


async def test_a_principal_leaves_a_connection_to_others(pool: Pool, impatient: None):
    assert await held(pool, *[reader("key:greedy")] * 6, reader("key:other")) == [True] * 3 + [False] * 3 + [True]


async def test_one_customers_reads_take_two_connections(pool: Pool, impatient: None):
    ann = Caller("customer:ann", "ann", writes=False, is_customer=True)
    assert await held(pool, ann, ann, ann, reader()) == [True, True, False, True]


async def test_a_released_connection_goes_to_a_waiting_caller(pool: Pool):
    done = asyncio.Event()
    done.set()
    assert all(await asyncio.gather(*(hold(pool, writer(), done) for _ in range(50))))
    assert not pool._shares._shares, "nothing is kept of who is gone"


async def test_too_many_waiting_callers_are_refused_at_once(pool: Pool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shares, "MOST_WAITING", 3)
    done = asyncio.Event()
    tasks = [asyncio.create_task(hold(pool, writer(), done)) for _ in range(9)]
    await asyncio.sleep(0.2)
    assert sum(task.done() for task in tasks) == 4, "two hold, three wait"
    done.set()
    assert sorted(await asyncio.gather(*tasks)) == [False] * 4 + [True] * 5


async def test_a_canceled_caller_frees_its_place(pool: Pool):
    done = asyncio.Event()
    holding = [asyncio.create_task(hold(pool, writer(), done)) for _ in range(2)]
    await asyncio.sleep(0.1)
    waiting = asyncio.create_task(hold(pool, writer(), done))
    await asyncio.sleep(0.1)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    done.set()
    await asyncio.gather(*holding)
    assert await held(pool, writer(), writer()) == [True, True]
    assert not pool._shares._shares


async def test_a_caller_that_gives_up_while_a_place_is_left_has_no_other_error():
    share = shares._Share(free=1, most_waiting=1)
    assert share.take()
    waiting = asyncio.create_task(share.wait())
    await asyncio.sleep(0)
    waiting.cancel()
    share.leave()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert (share.free, len(share.waiting)) == (1, 0)


async def test_waiting_of_the_process_itself_is_bounded_too(pool: Pool, impatient: None):
    assert await held(pool, *[None] * 6) == [True] * 4 + [False] * 2


def test_a_busy_pool_is_a_transient_failure():
    assert is_transient(BusyError())


async def test_a_small_pool_has_a_place_for_every_caller():
    for size in (1, 2, 3):
        taken = Shares(size).take(writer())
        assert taken is not None
        assert len(taken) == 3


async def test_a_released_session_is_not_reset_but_has_no_transaction(pool: Pool):
    async with pool.acquire() as connection:
        await connection.execute("BEGIN; SET LOCAL statement_timeout = 5; SELECT pg_advisory_xact_lock(1)")
    async with pool.acquire() as connection:
        assert await connection.fetchval("SHOW statement_timeout") == "30s"
        assert await connection.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0


async def test_a_lost_connection_is_released_too(pool: Pool):
    for _ in range(SIZE + 1):
        CALLER.set(writer())
        async with pool.acquire() as connection:
            connection.terminate()
    assert await held(pool, writer(), reader()) == [True, True]
    assert not pool._shares._shares


async def test_a_canceled_release_returns_the_connection(pool: Pool):
    async def use() -> None:
        CALLER.set(writer())
        async with pool.acquire() as connection:
            await connection.execute("SELECT pg_sleep(10)")

    for _ in range(SIZE + 1):
        using = asyncio.create_task(use())
        await asyncio.sleep(0.05)
        using.cancel()
        await asyncio.sleep(0)
        using.cancel()
        await asyncio.gather(using, return_exceptions=True)
    assert await held(pool, writer(), reader()) == [True, True]
    assert not pool._shares._shares
