"""`verify` finds what is wrong with runs and timers; each check can fail."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from services.notifications.handlers.sweeping import sweep
from services.notifications.handlers.verifying import verify
from shared.postgres.pool import Pool
from tests.notifications.journeys.machinery import PURCHASE, send
from tests.notifications.journeys.test_messages import MONA, WELCOME, bought
from tests.notifications.journeys.test_sweeping import ship
from tests.notifications.test_verify import JOURNEYS
from tests.notifications.world import NOW, ago, desk, handle, library, registered
from tests.support.broken import broken

DONE: dict[str, Any] = {"again": {"kind": "never"}, "steps": [WELCOME]}
WAITING: dict[str, Any] = {"steps": [{"kind": "wait", "days": 30}, send("welcome")]}
INACTIVE: dict[str, Any] = {"trigger": {"on": "inactivity", "of": PURCHASE, "days": 60}, "steps": [send("welcome")]}

MESSAGES, STATES, OVERDUE, ONCE, COUNTS, ERASED = JOURNEYS

BROKEN: Mapping[str, set[str]] = {
    "DELETE FROM run WHERE journey = 'done'": {MESSAGES},
    "UPDATE message SET occasion = occasion || '!' WHERE trigger = 'done'": {MESSAGES},
    "UPDATE message SET run_id = NULL WHERE trigger = 'done'": {ONCE},
    "UPDATE run SET fell_due_at = started_at - interval '1 day' WHERE journey = 'waiting'": {STATES},
    "UPDATE run SET trace = '{}'::json WHERE journey = 'waiting'": {STATES},
    "UPDATE run SET look_at = '2026-02-01' WHERE journey = 'waiting'": {OVERDUE},
    "UPDATE timer SET look_at = '2026-02-01'": {OVERDUE},
    "UPDATE customer SET purchases = 0": {COUNTS},
    "UPDATE customer SET seen_at = NULL, registered_at = NULL, erased_at = '2026-03-02', details = '{}'": {ERASED},
}


@pytest.fixture
async def life(pool: Pool) -> Pool:
    """Mona has a run that is over, one that waits, and a timer."""
    await ship(pool, done=DONE, waiting=WAITING, inactive=INACTIVE)
    await handle(pool, registered("mona", ago(days=3), **MONA), bought())
    await sweep(pool, NOW, desk())
    return pool


async def violations(pool: Pool) -> set[str]:
    return {check.name async for check in verify(library(), pool, 100, NOW + timedelta(minutes=5)) if check.offenders}


async def test_a_sound_database_has_none(life: Pool):
    assert await violations(life) == set()
    assert await life.fetchval("SELECT count(*) FROM run") == 2
    assert await life.fetchval("SELECT count(*) FROM timer") == 1


async def test_each_fault_is_found(life: Pool):
    found: dict[str, set[str]] = {}
    for statements in BROKEN:
        async with broken(life, statements) as pool:
            found[statements] = await violations(pool) & set(JOURNEYS)
    assert found == BROKEN


def test_every_check_can_fail():
    assert set().union(*BROKEN.values()) == set(JOURNEYS)
