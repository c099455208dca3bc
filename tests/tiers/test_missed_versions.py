"""Customers who were judged ahead of now when a version was published that begins before that."""

from datetime import timedelta
from pathlib import Path

import pytest

from services.tiers.handlers.applying import apply_versions
from services.tiers.handlers.rejudging import rejudge
from shared.postgres.pool import Pool
from tests.points.asking import at
from tests.tiers import what_if
from tests.tiers.applied import apply, timeline
from tests.tiers.asking import asking
from tests.tiers.programs import DEFAULT, changed
from tests.tiers.shop import day, purchase

PLUS = changed(DEFAULT, ("/tiers/1/id", "plus"), ("/moves", {"silver": "plus"}))
E = day(2)


@pytest.fixture
async def pool(tiers_pool: Pool) -> Pool:
    """Ann has an order that is dated ahead of the instant from which on a version calls her tier another name."""
    await apply(tiers_pool, purchase("1", "600.00", day(0)), now=day(0))
    await apply(tiers_pool, purchase("2", "1.00", E + timedelta(hours=12)), now=day(2) - timedelta(hours=1))
    draft = await what_if.draft(tiers_pool, PLUS, day(1))
    await what_if.publish(tiers_pool, draft.version, E, day(1))
    return tiers_pool


@pytest.mark.parametrize("hours", [-60, 1, 13])
async def test_events_are_judged_by_it_before_the_job_comes(pool: Pool, hours: int):
    await apply(pool, purchase("3", "1.00", E + timedelta(hours=hours)), now=E + timedelta(hours=1))
    entries = await timeline(pool)
    assert [tier for _, tier in entries] == ["silver", "plus"]
    assert entries[1][0] == E
    await apply_versions(pool, E + timedelta(days=1))
    await rejudge(pool, E + timedelta(days=1))
    assert await timeline(pool) == entries


async def test_reads_and_writes_are_by_it_too(pool: Pool, tmp_path: Path):
    async with asking(pool, tmp_path, "read", "support") as client:
        with at(E + timedelta(hours=1)):
            answer = await client.get("/v1/customers/ann/tier")
            given = await client.put("/v1/customers/ann/tier", json={"tier": "gold", "note": "goodwill"})
    assert (answer.status_code, answer.json()["tier"], answer.json()["program_version"]) == (200, "plus", 2)
    assert (given.status_code, given.json()["tier"]) == (200, "gold")
