"""Journeys over HTTP: drafted, refused, published, and the runs of a customer."""

from typing import Any

import httpx

from services.notifications.handlers.sweeping import sweep
from services.notifications.store import runs as stored_runs
from shared.postgres.pool import Pool
from shared.programs.kind import Key
from shared.programs.store import find
from tests.notifications.journeys.machinery import PURCHASE, REVIEW, send
from tests.notifications.journeys.test_moving import DAY, WAIT, T, bought
from tests.notifications.journeys.test_sweeping import Office, ship
from tests.notifications.test_api import client, keys

__all__ = ["client", "keys"]

JOURNEYS = "/v1/journeys"
DOCUMENT: dict[str, Any] = {
    "name": {"en": "Later"},
    "trigger": {"on": "event", "type": PURCHASE},
    "steps": [WAIT, send("welcome")],
}


def by(keys: dict[str, str], scope: str) -> dict[str, str]:
    return {"Authorization": keys[scope]}


async def test_the_ready_made_journeys_are_listed(client: httpx.AsyncClient, keys: dict[str, str]):
    answer = await client.get(JOURNEYS, params={"limit": 200}, headers=by(keys, "read"))
    assert answer.status_code == 200
    assert {"welcome", "win_back", "points_earned"} <= {each["id"] for each in answer.json()["data"]}


async def test_a_journey_is_drafted_warned_about_published_and_never_changed(
    client: httpx.AsyncClient, keys: dict[str, str], pool: Pool
):
    marketing = by(keys, "marketing")
    made = await client.post(JOURNEYS, json=DOCUMENT | {"id": "later"}, headers=marketing)
    assert made.status_code == 201, made.text
    assert (made.json()["version"], made.json()["status"], made.json()["warnings"]) == (1, "draft", [])
    again = await client.post(JOURNEYS, json=DOCUMENT | {"id": "later"}, headers=marketing)
    assert (again.status_code, again.json()["code"]) == (409, "exists")
    versions = f"{JOURNEYS}/later/versions"
    doubtful = await client.post(versions, json=DOCUMENT | {"steps": [WAIT]}, headers=marketing)
    assert (doubtful.status_code, doubtful.json()["warnings"][0]["pointer"]) == (201, "/steps")
    published = await client.post(f"{versions}/1/publish", json={"inside": "stop"}, headers=marketing)
    assert (published.status_code, published.json()["status"]) == (200, "published")
    assert await pool.fetchval("SELECT inside FROM journey_publication WHERE journey = 'later'") == "stop"
    refused = await client.post(f"{versions}/1/publish", headers=marketing)
    assert (refused.status_code, refused.json()["code"]) == (409, "already_published")


async def test_a_wrong_document_is_refused_with_pointers(client: httpx.AsyncClient, keys: dict[str, str]):
    wrong = DOCUMENT | {"id": "wrong", "trigger": {"on": "event", "type": "loyalty.message.sent.v1"}}
    answer = await client.post(JOURNEYS, json=wrong, headers=by(keys, "marketing"))
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/trigger/type")
    answer = await client.post(
        JOURNEYS, json=DOCUMENT | {"id": "wrong", "steps": [{"kind": "wait", "days": 0}]}, headers=by(keys, "marketing")
    )
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"].startswith("/steps/0")


async def test_steps_nested_as_deep_as_a_body_can_be_are_refused(client: httpx.AsyncClient, keys: dict[str, str]):
    steps: list[Any] = [send()]
    for _ in range(300):
        steps = [{"kind": "wait_for", "type": REVIEW, "within_days": 1, "then": steps, "else": []}]
    answer = await client.post(JOURNEYS, json=DOCUMENT | {"id": "deep", "steps": steps}, headers=by(keys, "marketing"))
    assert answer.status_code in {400, 422}


async def test_the_runs_of_a_customer_with_what_each_step_did(
    client: httpx.AsyncClient, keys: dict[str, str], pool: Pool
):
    office = Office()
    await ship(pool, later={"steps": [WAIT, send("welcome")]})
    for number in range(3):
        await office.happen(pool, T + number * DAY, bought("mona", T + number * DAY, str(number)))
    await office.happen(pool, T, bought("ben", T, "1"))
    await sweep(pool, T + 3 * DAY, office.desk)
    path, query = f"{JOURNEYS}/later/runs", {"customer_id": "mona", "limit": 2}
    first = (await client.get(path, params=query, headers=by(keys, "read"))).json()
    assert [run["key"] for run in first["data"]] == ["order/2", "order/1"]
    rest = (await client.get(path, params=query | {"after": first["next"]}, headers=by(keys, "support"))).json()
    [run] = rest["data"]
    assert rest["next"] is None
    assert run["trace"] == [
        {"step": "0", "kind": "wait", "at": "2026-03-01T12:00:00Z", "outcome": "over"},
        {"step": "1", "kind": "send", "at": "2026-03-04T12:00:00Z", "outcome": "welcome"},
    ]
    assert (run["state"], run["step"], "due_at" in run) == ("done", "1", False)
    waiting = first["data"][0]
    assert {name: waiting[name] for name in ("journey", "version", "state", "step", "due_at", "trigger")} == {
        "journey": "later",
        "version": 1,
        "state": "waiting",
        "step": "0",
        "due_at": "2026-03-06T12:00:00Z",
        "trigger": PURCHASE,
    }
    inside = await client.get(f"{JOURNEYS}/later/inside", headers=by(keys, "marketing"))
    assert inside.json()["data"] == [{"version": 1, "runs": 2}]
    missing = await client.get(f"{JOURNEYS}/nothing/runs", params=query, headers=by(keys, "read"))
    assert missing.status_code == 404
    assert (await client.get(path, headers=by(keys, "read"))).status_code == 422


async def test_at_most_a_hundred_journeys_are_published(client: httpx.AsyncClient, keys: dict[str, str], pool: Pool):
    base = {"name": {"en": "Test"}, "trigger": {"on": "event", "type": PURCHASE}, "steps": [send("welcome")]}
    await ship(pool, **{f"journey-{number}": base for number in range(100)})
    marketing = by(keys, "marketing")
    for id_, status in (("journey-7", 200), ("one-more", 409)):
        draft = await client.post(f"{JOURNEYS}/{id_}/versions", json=DOCUMENT, headers=marketing)
        version = draft.json()["version"]
        answer = await client.post(f"{JOURNEYS}/{id_}/versions/{version}/publish", headers=marketing)
        assert answer.status_code == status, answer.text
    assert answer.json()["code"] == "too_many_journeys"
    version = await find(pool, Key("journey", "one-more"), 1)
    assert version is not None
    assert version.effective_at is None
    assert list(await stored_runs.inside(pool, "one-more")) == []
