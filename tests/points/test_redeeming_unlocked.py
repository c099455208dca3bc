"""Redemptions by two statements: they write only on what they read, and once for each key.

Planted and caught here: an account whose sequence alone is compared; a key that is claimed or used and redeems again;
lots that are written outside a transaction; writes about one customer that disturb each other in one process.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from services.points.api import build
from services.points.handlers import spending
from services.points.handlers.spending import ForReference
from services.points.settings import Settings
from services.points.store import available, saving
from services.points.store.redemptions import Redemption
from shared.postgres.answers import Answer, StoredMeanwhileError, claim_of
from shared.postgres.pool import Connection, Pool, open_pool
from shared.postgres.shares import open_shared_pool
from tests.points.asking import done, of, post, refusal
from tests.points.books import NOW, Balances, adjust, balances, call, check_books, deliver
from tests.points.conftest import Headers
from tests.points.shop import purchase
from tests.support.postgres import make_database

KEY = "key:shop", "k"
WAITING_SQL = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
USE_SQL = """
INSERT INTO idempotency_key (principal, key, fingerprint, customer_id, status, body)
VALUES ($1, $2, '', 'ann', 201, '{}')
"""
STORED_SQL = """
SELECT (SELECT count(*) FROM redemption) AS redemptions, (SELECT count(*) FROM transaction) AS transactions,
       (SELECT count(*) FROM posting) AS postings, (SELECT count(*) FROM outbox) AS outbox,
       (SELECT count(*) FROM idempotency_key) AS keys, (SELECT sum(remaining)::int FROM lot) AS remaining
"""


async def redeem(connection: Connection, points: int = 30, reference: str = "till-1") -> Redemption | None:
    """Redeem ann's points under the key, outside a transaction."""

    def answer(_: Redemption) -> Answer:
        return Answer(*KEY, b"", "ann", 201, "{}")

    return await spending.redeem_unlocked(connection, replace(call(), answer=answer), ForReference(points, reference))


async def stored(pool: Pool) -> dict[str, Any]:
    """Numbers of rows, and the points in all lots."""
    row = await pool.fetchrow(STORED_SQL)
    assert row is not None
    return dict(row)


def between(monkeypatch: pytest.MonkeyPatch, act: Callable[[], Awaitable[object]]) -> None:
    """Do something between the statement that reads and the one that writes, once."""
    read = available.read_with_account

    async def read_and_act(*arguments: Any) -> Any:
        monkeypatch.setattr(available, "read_with_account", read)
        seen = await read(*arguments)
        await act()
        return seen

    monkeypatch.setattr(available, "read_with_account", read_and_act)


async def test_a_redemption_takes_two_statements(points_pool: Pool):
    await adjust(points_pool, "ann", 100)
    queries: list[str] = []

    def note(record: Any) -> None:
        queries.append(record.query.split()[0])

    async with points_pool.acquire() as connection:
        with connection.query_logger(note):
            redemption = await redeem(connection)
    assert redemption is not None
    assert queries == ["SELECT", "WITH"]
    assert await balances(points_pool) == Balances(available=70, lifetime_redeemed=30)
    assert (await stored(points_pool))["keys"] == 1
    await check_books(points_pool)


async def test_over_http_it_needs_no_transaction(
    client: httpx.AsyncClient, points_pool: Pool, shop: Headers, monkeypatch: pytest.MonkeyPatch
):
    await deliver(points_pool, purchase("1", "100.00"))
    locked = spending.redeem_for_reference
    monkeypatch.delattr(spending, "redeem_for_reference")
    first = await post(client, of("ann", "redemptions"), shop, {"points": 10, "reference": "r"}, name="k")
    monkeypatch.setattr(spending, "redeem_for_reference", locked, raising=False)
    again = await post(client, of("ann", "redemptions"), shop, {"points": 10, "reference": "r"}, name="k")
    assert (first.status_code, again.content, again.headers["Idempotency-Replayed"]) == (201, first.content, "true")
    other = await post(client, of("ann", "redemptions"), shop, {"points": 11, "reference": "r"}, name="k")
    assert refusal(other) == (422, "idempotency_key_reused")
    second = await post(client, of("ann", "redemptions"), shop, {"points": 10, "reference": "r"}, name="l")
    assert (second.status_code, second.content) == (201, first.content)
    assert "Idempotency-Replayed" not in second.headers
    assert (await balances(points_pool)).available == 90
    await check_books(points_pool)


CHANGE_SQL = "UPDATE account SET orders = orders + 1 WHERE customer_id = 'ann'"


async def test_nothing_is_written_on_an_account_that_changed_meanwhile(
    points_pool: Pool, monkeypatch: pytest.MonkeyPatch
):
    await adjust(points_pool, "ann", 100)
    # The sequence stays.
    for act in (lambda: points_pool.execute(CHANGE_SQL), lambda: adjust(points_pool, "ann", 1)):
        between(monkeypatch, act)
        async with points_pool.acquire() as connection:
            assert await redeem(connection) is None
    assert (await stored(points_pool))["keys"] == (await stored(points_pool))["redemptions"] == 0
    assert await balances(points_pool) == Balances(available=101)
    await check_books(points_pool)


@pytest.mark.parametrize("change, written", [(CHANGE_SQL, False), ("SELECT 1", True)])
async def test_a_change_is_seen_after_a_wait_for_the_lock(points_pool: Pool, change: str, *, written: bool):
    await adjust(points_pool, "ann", 100)
    async with points_pool.acquire() as first, points_pool.acquire() as second:
        async with first.transaction():
            await first.execute("SELECT FROM account FOR UPDATE")
            waiting = asyncio.create_task(redeem(second))
            while not await points_pool.fetchval(WAITING_SQL):  # noqa: ASYNC110 PostgreSQL sends no notice
                await asyncio.sleep(0.01)
            # The key is claimed meanwhile.
            assert not await first.fetchval("SELECT pg_try_advisory_xact_lock($1)", claim_of(*KEY))
            await first.execute(change)
        redemption = await waiting
    assert (redemption is not None) == written
    assert (await balances(points_pool)).available == (70 if written else 100)
    await check_books(points_pool)


async def test_a_claimed_or_used_key_and_a_used_reference_write_nothing(points_pool: Pool):
    await adjust(points_pool, "ann", 100)
    async with points_pool.acquire() as connection, points_pool.acquire() as other:
        async with other.transaction():
            await other.execute("SELECT pg_advisory_xact_lock($1)", claim_of(*KEY))
            assert await redeem(connection) is None
        await points_pool.execute(USE_SQL, *KEY)
        assert await redeem(connection) is None
        await points_pool.execute("DELETE FROM idempotency_key")
        assert await redeem(connection) is not None
        before = await stored(points_pool)
        await points_pool.execute("UPDATE idempotency_key SET key = 'other'")
        assert await redeem(connection) is None
        assert await stored(points_pool) == before
    assert (await balances(points_pool)).available == 70
    await check_books(points_pool)


async def test_a_key_that_is_used_while_the_statement_runs_undoes_it(points_pool: Pool):
    await adjust(points_pool, "ann", 100)
    before = await stored(points_pool)
    async with points_pool.acquire() as first, points_pool.acquire() as second:
        async with first.transaction():
            await first.execute(USE_SQL, *KEY)
            waiting = asyncio.create_task(redeem(second))
            while not await points_pool.fetchval(WAITING_SQL):  # noqa: ASYNC110 PostgreSQL sends no notice
                await asyncio.sleep(0.01)
        with pytest.raises(StoredMeanwhileError):
            await waiting
    assert await stored(points_pool) == before | {"keys": 1}
    await check_books(points_pool)


async def test_several_lots_are_written_together_or_not_at_all(points_pool: Pool, monkeypatch: pytest.MonkeyPatch):
    for points in (10, 20, 30):
        await adjust(points_pool, "ann", points)
    before = await stored(points_pool)

    async def fail(*_: object) -> None:
        raise asyncpg.ConnectionDoesNotExistError

    with monkeypatch.context() as patched:
        patched.setattr(saving, "save_parts", fail)
        async with points_pool.acquire() as connection:
            with pytest.raises(asyncpg.ConnectionDoesNotExistError):
                await redeem(connection, 35)
    assert await stored(points_pool) == before
    async with points_pool.acquire() as connection:
        assert await redeem(connection, 35) is not None
    assert await balances(points_pool) == Balances(available=25, lifetime_redeemed=35)
    await check_books(points_pool)


async def test_what_needs_more_reading_is_left_to_the_lock(points_pool: Pool):
    for points in range(1, 31):
        await adjust(points_pool, "ann", points)
    async with points_pool.acquire() as connection:
        assert await redeem(connection, 460) is None  # of more lots than are read at once
        assert await redeem(connection, 466) is None  # of more points than there are
        await points_pool.execute("UPDATE account SET due_at = $1", NOW)
        assert await redeem(connection) is None
        await points_pool.execute("UPDATE account SET due_at = $1", NOW + timedelta.resolution)
        assert await redeem(connection) is not None


async def test_writes_about_a_customer_in_one_process_do_not_disturb_each_other(
    postgres_url: str, tmp_path: Path, shop: Headers, monkeypatch: pytest.MonkeyPatch
):
    url = await make_database(postgres_url, "points")
    monkeypatch.delattr(available, "lock_and_read")
    async with await open_shared_pool(url, application="test", max_size=8) as pool:
        await adjust(pool, "ann", 100)
        app = build(Settings(api_keys_file=tmp_path / "keys.json"), pool)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://wafa.example") as client:
            asked = [
                done(client, of("ann", "redemptions"), shop, {"points": 2, "reference": str(number)})
                for number in range(50)
            ]
            await asyncio.gather(*asked)
        assert await balances(pool) == Balances(lifetime_redeemed=100)
        await check_books(pool)


async def test_the_same_request_is_refused_while_the_first_waits_for_the_account(
    postgres_url: str, tmp_path: Path, shop: Headers
):
    body = {"points": 10, "reference": "r"}
    url = await make_database(postgres_url, "points")
    async with (
        await open_pool(url, application="other") as other,
        other.acquire() as connection,
        await open_shared_pool(url, application="test", max_size=4) as pool,
    ):
        await adjust(pool, "ann", 100)
        app = build(Settings(api_keys_file=tmp_path / "keys.json"), pool)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://wafa.example") as client:
            async with connection.transaction():
                await connection.execute("SELECT FROM account FOR UPDATE")
                first = asyncio.create_task(post(client, of("ann", "redemptions"), shop, body, name="k"))
                while not await other.fetchval(WAITING_SQL):  # noqa: ASYNC110 PostgreSQL sends no notice
                    await asyncio.sleep(0.01)
                again = await post(client, of("ann", "redemptions"), shop, body, name="k")
                assert refusal(again) == (409, "request_in_progress")
            made = await first
            again = await post(client, of("ann", "redemptions"), shop, body, name="k")
        assert (made.status_code, again.content) == (201, made.content)
        assert again.headers["Idempotency-Replayed"] == "true"
        assert (await balances(pool)).available == 90
        await check_books(pool)
