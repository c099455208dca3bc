"""The summary counts messages by what they are now, whatever changed them."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from deploy.keys import create_key
from services.notifications.api import build
from services.notifications.api.summary import day_of
from services.notifications.settings import Settings
from services.notifications.store import totals
from shared.postgres import checks
from shared.postgres.pool import Pool
from tests.notifications.world import earned, erased, handle, registered

Counts = dict[tuple[str, str, str | None], int]


@pytest.fixture
async def client(pool: Pool, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    keys = tmp_path / "keys.json"
    app = build(Settings.model_validate({"api_keys_file": keys}), pool)
    headers = {"Authorization": f"Bearer {create_key(keys, ['read'], 'read')}"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://wafa", headers=headers) as http:
        yield http


def counts(period: dict[str, Any]) -> Counts:
    return {(row["channel"], row["state"], row.get("reason")): row["count"] for row in period["messages"]}


async def summary(client: httpx.AsyncClient) -> tuple[Counts, Counts]:
    shown = (await client.get("/v1/notifications/summary")).json()
    return counts(shown["today"]), counts(shown["last_30_days"])


async def counted(pool: Pool) -> Counts:
    """The same from the messages themselves."""
    rows = await pool.fetch("SELECT channel, state, reason, count(*) FROM message GROUP BY 1, 2, 3")
    return {(row["channel"], row["state"], row["reason"]): row["count"] for row in rows}


async def is_sound(pool: Pool) -> bool:
    async with checks.snapshot(pool) as connection:
        return [check.offenders async for check in checks.ask(connection, (totals.QUERY,))] == [[]]


async def test_messages_are_counted_by_what_they_are_now(client: httpx.AsyncClient, pool: Pool):
    now = datetime.now(UTC)
    assert await summary(client) == ({}, {})
    await handle(pool, registered("mona", now, email="mona@example.org"), earned("mona", 3, now), now=now)
    await handle(pool, earned("ben", 3, now), earned("ben", 4, now - timedelta(days=9)), now=now)
    expected = await counted(pool)
    assert len(expected) >= 3
    assert await summary(client) in [(expected | late, expected | late) for late in ({}, TOO_OLD)]
    await pool.execute("UPDATE message SET state = 'sent', due_at = NULL, reason = NULL WHERE state = 'queued'")
    await pool.execute("UPDATE message SET attempts = attempts + 1")
    await totals.add_up(pool, now)
    assert await pool.fetchval("SELECT count(*) FROM message_change") == 0
    today, month = await summary(client)
    assert today == month
    assert {key: count for key, count in today.items() if key not in TOO_OLD} == {
        key: count for key, count in (await counted(pool)).items() if key not in TOO_OLD
    }
    assert await is_sound(pool)


TOO_OLD: Counts = {("email", "skipped", "too_old"): 1}
"""A mail that is too old has no row of its own where the inbox has the message."""


async def test_what_is_too_old_is_counted(client: httpx.AsyncClient, pool: Pool):
    now = datetime.now(UTC)
    await handle(pool, registered("mona", now, email="mona@example.org"), now=now)
    await handle(pool, earned("mona", 4, now - timedelta(days=9)), now=now)
    assert (await summary(client))[0][("email", "skipped", "too_old")] == 1


async def test_erased_messages_stay_counted_unless_they_waited(client: httpx.AsyncClient, pool: Pool):
    now = datetime.now(UTC)
    await handle(pool, earned("mona", 3, now), now=now)
    assert ("email", "held", "no_profile") in (await summary(client))[0]
    await handle(pool, erased("mona", now), now=now)
    assert await pool.fetchval("SELECT count(*) FROM message") == 0
    assert (await summary(client))[0] == {("in_app", "sent", None): 1}
    assert await is_sound(pool)


async def test_today_is_part_of_the_last_days(client: httpx.AsyncClient, pool: Pool):
    now = datetime.now(UTC)
    for days in (0, 1, 29, 30, 61):
        made = now - timedelta(days=days)
        await handle(pool, earned("mona", 3, made), now=made)
    today, month = await summary(client)
    assert (today["in_app", "sent", None], month["in_app", "sent", None]) == (1, 3)
    await totals.add_up(pool, now + timedelta(days=2))
    assert await pool.fetchval("SELECT min(hour) FROM message_total") > now - timedelta(days=31)


@pytest.mark.parametrize(
    "zone, before, begin",
    [
        ("UTC", 0, datetime(2026, 3, 29, tzinfo=UTC)),
        ("UTC", 29, datetime(2026, 2, 28, tzinfo=UTC)),
        ("Africa/Cairo", 0, datetime(2026, 3, 28, 22, tzinfo=UTC)),
        ("Europe/Berlin", 0, datetime(2026, 3, 28, 23, tzinfo=UTC)),
        ("Asia/Kolkata", 0, datetime(2026, 3, 28, 18, tzinfo=UTC)),
    ],
)
def test_days_are_local(zone: str, before: int, begin: datetime):
    assert day_of(datetime(2026, 3, 29, 12, 30, tzinfo=UTC), ZoneInfo(zone), before) == begin


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE message_change SET count = count - 1",
        "DELETE FROM message_change",
        "UPDATE message_change SET count = count + 1 WHERE state = 'held'",
    ],
)
async def test_verify_finds_wrong_totals(pool: Pool, change: str):
    now = datetime.now(UTC)
    await handle(pool, earned("mona", 3, now), now=now)
    assert await is_sound(pool)
    await pool.execute(change)
    assert not await is_sound(pool)
