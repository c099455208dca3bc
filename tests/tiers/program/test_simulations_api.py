"""Simulations over HTTP, and the way of a draft from its simulation to the customers.

Planted and caught here: a simulation of another revision that admits a draft; a page that lists a customer twice.
"""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from services.tiers.handlers.applying import apply_versions
from services.tiers.handlers.simulating import simulate
from shared.contracts.values import format_instant
from shared.postgres.pool import Pool
from tests.points.asking import at, done, pointers, post, refusal
from tests.tiers import what_if
from tests.tiers.applied import apply
from tests.tiers.program.conftest import Headers
from tests.tiers.program.drafting import PROGRAMS, put
from tests.tiers.programs import DEFAULT, MINIMAL, changed
from tests.tiers.shop import purchase

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
LOWER = changed(DEFAULT, ("/tiers/1/enter/0/0/at_least", "400"))
MOVING = 7


@pytest.fixture(autouse=True)
def _clock():
    with at(NOON):
        yield


async def shop(pool: Pool) -> None:
    """Seven customers who reach Silver by the draft, and three who are in it."""
    before = NOON - timedelta(days=3)
    totals = {f"c{number}": "450.00" if number < MOVING else "600.00" for number in range(10)}
    await apply(pool, *(purchase("1", total, before, customer_id=name) for name, total in totals.items()), now=NOON)


async def start(client: httpx.AsyncClient, headers: Headers, version: int, **body: Any) -> httpx.Response:
    return await post(client, f"{PROGRAMS}/{version}/simulations", headers, body)


async def read(client: httpx.AsyncClient, headers: Headers, path: str, **query: Any) -> Any:
    answer = await client.get(f"/v1/simulations/{path}", headers=headers, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_from_a_simulation_to_the_customers(
    client: httpx.AsyncClient, tiers_pool: Pool, marketing: Headers, reader: Headers
):
    await shop(tiers_pool)
    made = await done(client, PROGRAMS, marketing, LOWER)
    refused = await post(client, f"{PROGRAMS}/2/publish", marketing, {})
    assert refusal(refused) == (409, "simulation_required")
    answer = await start(client, marketing, 2)
    assert answer.status_code == 202
    started = answer.json()
    assert started == {
        "id": started["id"],
        "version": 2,
        "at": format_instant(NOON),
        "state": "running",
        "progress": 0.0,
    }
    assert await read(client, reader, started["id"]) == started
    assert refusal(await post(client, f"{PROGRAMS}/2/publish", marketing, {})) == (409, "simulation_required")
    await simulate(tiers_pool, NOON)
    found = await read(client, reader, started["id"])
    assert (found["state"], found["progress"]) == ("done", 1.0)
    result = found["result"]
    assert result == {
        "customers": 10,
        "tiers": [
            {"tier": "member", "before": 7, "after": 0},
            {"tier": "silver", "before": 3, "after": 10},
            {"tier": "gold", "before": 0, "after": 0},
        ],
        "moves": [{"from": "member", "to": "silver", "customers": MOVING}],
        "promoted": MOVING,
        "demoted": 0,
        "unchanged": 3,
        "points_cost": {"before": 0, "after": 0, "delta": 0},
        "near": [{"tier": "silver", "within_tenth": 0}, {"tier": "gold", "within_tenth": 0}],
        "at": format_instant(NOON),
    }
    answer = await client.post(
        f"{PROGRAMS}/2/publish",
        json={"effective_at": format_instant(NOON)},
        headers=marketing | {"If-Match": made["etag"]},
    )
    assert answer.status_code == 200, answer.text
    await apply_versions(tiers_pool, NOON)
    assert set((await what_if.tiers(tiers_pool)).values()) == {"silver"}
    # Of a published version it stays readable.
    assert await read(client, reader, started["id"]) == found


async def test_the_customers_come_in_pages(
    client: httpx.AsyncClient, tiers_pool: Pool, marketing: Headers, reader: Headers, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("services.tiers.handlers.simulating.SLICE", 3)
    await shop(tiers_pool)
    await done(client, PROGRAMS, marketing, LOWER)
    started = (await start(client, marketing, 2)).json()["id"]
    listing = f"/v1/simulations/{started}/customers"
    assert refusal(await client.get(listing, headers=reader)) == (409, "not_done")
    await simulate(tiers_pool, NOON)
    pages: list[Any] = []
    after: dict[str, str] = {}
    while True:
        shown = await read(client, reader, f"{started}/customers", limit=2, **{"from": "member"}, to="silver", **after)
        pages.append(shown["data"])
        if shown["next"] is None:
            break
        after = {"after": shown["next"]}
    assert [len(listed) for listed in pages] == [2, 2, 2, 1]
    rows = [row for listed in pages for row in listed]
    assert [row["customer_id"] for row in rows] == [f"c{number}" for number in range(MOVING)]
    assert rows[0] == {
        "customer_id": "c0",
        "from": "member",
        "to": "silver",
        "why": "program: silver needs spend 400.00; has 450.00",
    }
    assert (await read(client, reader, f"{started}/customers"))["data"] == rows
    stay = await read(client, reader, f"{started}/customers", **{"from": "silver"}, to="silver")
    assert [row["customer_id"] for row in stay["data"]] == ["c7", "c8", "c9"]
    assert (await read(client, reader, f"{started}/customers", **{"from": "gold"}))["data"] == []


async def test_a_changed_draft_has_to_be_simulated_again(
    client: httpx.AsyncClient, tiers_pool: Pool, marketing: Headers, reader: Headers
):
    await shop(tiers_pool)
    made = await done(client, PROGRAMS, marketing, LOWER)
    started = (await start(client, marketing, 2)).json()["id"]
    await simulate(tiers_pool, NOON)
    answer = await put(client, marketing, 2, DEFAULT, made["etag"])
    assert answer.status_code == 200
    assert refusal(await post(client, f"{PROGRAMS}/2/publish", marketing, {})) == (409, "simulation_required")
    found = await read(client, reader, started)
    assert found["state"] == "failed"
    assert "draft was changed" in found["failure"]
    assert "result" not in found
    assert refusal(await client.get(f"/v1/simulations/{started}/customers", headers=reader)) == (409, "not_done")


async def test_what_cannot_be_simulated_is_refused(client: httpx.AsyncClient, marketing: Headers, reader: Headers):
    await done(client, PROGRAMS, marketing, changed(MINIMAL, ("/tiers/1/id", "plus")))
    assert pointers(await start(client, marketing, 2)) == ["/moves"]
    await done(client, PROGRAMS, marketing, LOWER)
    assert pointers(await start(client, marketing, 3, at=format_instant(NOON - timedelta(seconds=1)))) == ["/at"]
    assert pointers(await start(client, marketing, 3, at=format_instant(NOON + timedelta(days=4000)))) == ["/at"]
    assert (await start(client, marketing, 3, at="yesterday")).status_code == 422
    assert refusal(await start(client, marketing, 1)) == (409, "already_published")
    assert (await start(client, marketing, 9)).status_code == 404
    assert (await start(client, reader, 3)).status_code == 403
    assert (await client.get(f"/v1/simulations/{uuid4()}", headers=reader)).status_code == 404
    assert (await client.get(f"/v1/simulations/{uuid4()}/customers", headers=reader)).status_code == 404


async def test_a_draft_is_simulated_before_and_after_a_version_that_is_ahead_but_not_at_its_instant(
    client: httpx.AsyncClient, tiers_pool: Pool, marketing: Headers, reader: Headers
):
    await shop(tiers_pool)
    ahead = NOON + timedelta(days=1)
    for _ in range(2):
        await done(client, PROGRAMS, marketing, LOWER)
    await what_if.publish(tiers_pool, 2, ahead, NOON)
    assert pointers(await start(client, marketing, 3, at=format_instant(ahead))) == ["/at"]
    for moment, promoted in ((NOON, MOVING), (ahead + timedelta(seconds=1), 0)):
        started = (await start(client, marketing, 3, at=format_instant(moment))).json()["id"]
        await simulate(tiers_pool, NOON)
        result = (await read(client, reader, started))["result"]
        assert (result["customers"], result["promoted"]) == (10, promoted)


async def test_a_request_that_is_sent_again_starts_nothing_new(client: httpx.AsyncClient, marketing: Headers):
    await done(client, PROGRAMS, marketing, LOWER)
    headers = marketing | {"Idempotency-Key": "once"}
    first = await client.post(f"{PROGRAMS}/2/simulations", json={}, headers=headers)
    again = await client.post(f"{PROGRAMS}/2/simulations", json={}, headers=headers)
    assert first.status_code == 202
    assert first.json() == again.json()
    # Nor does a body have to be sent.
    assert (await client.post(f"{PROGRAMS}/2/simulations", headers=marketing)).status_code == 202


async def test_only_so_many_simulations_run(client: httpx.AsyncClient, marketing: Headers):
    await done(client, PROGRAMS, marketing, LOWER)
    for _ in range(20):
        assert (await start(client, marketing, 2)).status_code == 202
    assert refusal(await start(client, marketing, 2)) == (409, "too_many_simulations")
