"""Endpoints of webhooks over HTTP, and what they get."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks.webhooks import Webhook

from deploy.keys import create_key
from services.notifications.api import build, webhooks
from services.notifications.settings import Settings
from shared.postgres.pool import Pool
from tests.notifications import world as shop
from tests.notifications.channels.web import FakeWeb, answer, serving
from tests.notifications.webhooks.world import MASTER, add, dispatcher, due_now, send

URL = "https://shop.example.org/hooks"
PATH = "/v1/webhook-endpoints"


def app(keys: Path, pool: Pool, **settings: Any) -> httpx.AsyncClient:
    built = build(Settings.model_validate({"api_keys_file": keys, **settings}), pool)
    key = create_key(keys, ["admin"], "admin")
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(built), base_url="http://wafa", headers={"Authorization": f"Bearer {key}"}
    )


@pytest.fixture
async def client(pool: Pool, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with app(tmp_path / "keys.json", pool, secret=MASTER, webhook_allow="127.0.0.0/8") as http:
        yield http


@pytest.fixture
async def fake() -> AsyncIterator[FakeWeb]:
    async with serving(FakeWeb(lambda _: answer(204))) as fake:
        yield fake


async def create(client: httpx.AsyncClient, url: str = URL, **fields: Any) -> dict[str, Any]:
    created = await client.post(PATH, json={"url": url, **fields})
    assert created.status_code == 201, created.text
    return created.json()


async def test_an_endpoint_shows_its_secret_once(client: httpx.AsyncClient):
    made = await create(client, types=["loyalty.points.*", "loyalty.points.*"], description="The shop")
    assert made == {
        "id": made["id"],
        "url": URL,
        "types": ["loyalty.points.*"],
        "description": "The shop",
        "enabled": True,
        "secret_version": 1,
        "created_at": made["created_at"],
        "secret": made["secret"],
    }
    assert made["secret"].startswith("whsec_")
    del made["secret"]
    assert (await client.get(PATH)).json() == {"data": [made], "next": None}


async def test_endpoints_are_listed_newest_first(client: httpx.AsyncClient):
    made = [(await create(client))["id"] for _ in range(3)]
    first = (await client.get(PATH, params={"limit": 2})).json()
    second = (await client.get(PATH, params={"after": first["next"]})).json()
    assert [entry["id"] for entry in first["data"] + second["data"]] == made[::-1]


async def test_a_repeated_request_has_the_same_secret_which_is_not_stored(client: httpx.AsyncClient, pool: Pool):
    key = {"Idempotency-Key": "once"}
    first = await client.post(PATH, json={"url": URL}, headers=key)
    again = await client.post(PATH, json={"url": URL}, headers=key)
    assert (again.json(), again.headers["Idempotency-Replayed"]) == (first.json(), "true")
    assert len((await client.get(PATH)).json()["data"]) == 1
    stored = json.dumps(await pool.fetchval("SELECT body FROM idempotency_key"))
    assert "whsec_" not in stored
    rotated = await client.post(f"{PATH}/{first.json()['id']}/rotate", headers={"Idempotency-Key": "rotate"})
    again = await client.post(f"{PATH}/{first.json()['id']}/rotate", headers={"Idempotency-Key": "rotate"})
    assert again.json() == rotated.json()
    assert (await client.post(PATH, json={"url": URL}, headers=key)).json() == first.json()


@pytest.mark.parametrize(
    "body, pointer",
    [
        ({}, "/url"),
        ({"url": "http://shop.example.org/"}, "/url"),
        ({"url": "https://10.0.0.1/"}, "/url"),
        ({"url": "https://[::ffff:10.0.0.1]/"}, "/url"),
        ({"url": "https://user:pass@shop.example.org/"}, "/url"),
        ({"url": "https://shop.example.org/#x"}, "/url"),
        ({"url": "javascript:alert(1)"}, "/url"),
        ({"url": "https://" + "a" * 3000}, "/url"),
        ({"url": URL, "types": ["shop.purchase.completed.v1"]}, "/types/0"),
        ({"url": URL, "types": ["loyalty.*", "loyalty.nothing"]}, "/types/1"),
        ({"url": URL, "types": ["loyalty.*"] * 51}, "/types"),
        ({"url": URL, "secret": "mine"}, "/secret"),
    ],
)
async def test_wrong_endpoints_are_refused_with_a_pointer(client: httpx.AsyncClient, body: Any, pointer: str):
    refused = await client.post(PATH, json=body)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == pointer
    if "url" in body and pointer == "/url":
        made = await create(client)
        assert (await client.patch(f"{PATH}/{made['id']}", json=body)).status_code == 422


async def test_a_private_address_is_refused_without_the_setting(pool: Pool, tmp_path: Path):
    async with app(tmp_path / "keys.json", pool, secret=MASTER) as client:
        for url in ("http://127.0.0.1:9/", "https://127.0.0.1/", "https://localhost/"):
            assert (await client.post(PATH, json={"url": url})).status_code == 422


async def test_there_are_no_endpoints_without_a_secret(pool: Pool, tmp_path: Path):
    endpoint = await add(pool, URL)
    async with app(tmp_path / "keys.json", pool) as client:
        for path in (PATH, f"{PATH}/{endpoint.id}/rotate"):
            refused = await client.post(path, json={"url": URL})
            assert (refused.status_code, refused.json()["code"]) == (409, "no_secret")


async def test_there_is_a_limit(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(webhooks, "MOST", 1)
    made = await create(client)
    refused = await client.post(PATH, json={"url": URL})
    assert (refused.status_code, refused.json()["code"]) == (409, "too_many_endpoints")
    await client.delete(f"{PATH}/{made['id']}")
    await create(client)


async def test_only_what_is_sent_is_changed(client: httpx.AsyncClient, pool: Pool):
    made = await create(client, types=["loyalty.tier.*"], description="The shop")
    path = f"{PATH}/{made['id']}"
    del made["secret"]
    changed = (await client.patch(path, json={"enabled": False})).json()
    assert changed == made | {"enabled": False}
    changed = (await client.patch(path, json={"url": f"{URL}/2", "types": [], "description": None})).json()
    del made["description"]
    assert changed == made | {"enabled": False, "url": f"{URL}/2", "types": []}
    await pool.execute(
        "UPDATE webhook_endpoint SET disabled_reason = 'failing', failing_since = now(), failed_at = now()"
    )
    listed = (await client.get(PATH)).json()["data"][0]
    assert listed["disabled_reason"] == "failing"
    assert "failing_since" in listed
    enabled = (await client.patch(path, json={"enabled": True})).json()
    assert enabled == made | {"url": f"{URL}/2", "types": []}


@pytest.mark.parametrize("body", [{"url": None}, {"types": None}, {"enabled": None}, {"enabled": "yes"}, {"x": 1}])
async def test_wrong_changes_are_refused(client: httpx.AsyncClient, body: Any):
    made = await create(client)
    assert (await client.patch(f"{PATH}/{made['id']}", json=body)).status_code == 422


async def test_a_deleted_endpoint_is_gone(client: httpx.AsyncClient):
    path = f"{PATH}/{(await create(client))['id']}"
    assert (await client.delete(path)).status_code == 204
    answers = [
        await client.delete(path),
        await client.patch(path, json={"enabled": True}),
        await client.post(f"{path}/rotate"),
        await client.get(f"{path}/deliveries"),
        await client.post(f"{path}/deliveries/x/resend"),
        await client.delete(f"{PATH}/not-an-id"),
    ]
    assert [answer.status_code for answer in answers] == [404] * 6


async def test_both_secrets_sign_after_a_rotation(client: httpx.AsyncClient, pool: Pool, fake: FakeWeb):
    made = await create(client, fake.url)
    rotated = (await client.post(f"{PATH}/{made['id']}/rotate")).json()
    assert rotated["secret"] != made["secret"]
    assert rotated["secret_version"] == 2
    await shop.handle(pool, shop.moved("activated", "mona", 1))
    await send(pool, dispatcher())
    (request,) = fake.requests
    assert len(request.headers["webhook-signature"].split(" ")) == 2
    for secret in (made["secret"], rotated["secret"]):
        assert Webhook(secret).verify(request.body, dict(request.headers))["type"] == "loyalty.points.activated.v1"


async def test_deliveries_tell_of_each_attempt_and_are_sent_again(client: httpx.AsyncClient, pool: Pool, fake: FakeWeb):
    made = await create(client, fake.url)
    path = f"{PATH}/{made['id']}/deliveries"
    fake.script = lambda _: answer(500, "not now")
    event = shop.moved("activated", "mona", 1)
    await shop.handle(pool, event, shop.moved("activated", "ben", 1))
    await send(pool, dispatcher())
    fake.script = lambda _: answer(200)
    await due_now(pool)
    await send(pool, dispatcher())
    shown = (await client.get(path, params={"limit": 1})).json()
    (newest,) = shown["data"]
    (oldest,) = (await client.get(path, params={"after": shown["next"]})).json()["data"]
    assert (newest["customer_id"], oldest["customer_id"]) == ("ben", "mona")
    first, second = oldest["attempts"]
    assert oldest == {
        "id": oldest["id"],
        "webhook_id": event.id,
        "type": "loyalty.points.activated.v1",
        "customer_id": "mona",
        "state": "delivered",
        "created_at": oldest["created_at"],
        "attempts": [first, second],
    }
    assert first == {"at": first["at"], "seconds": first["seconds"], "status": 500, "excerpt": '"not now"'}
    assert second == {"at": second["at"], "seconds": second["seconds"], "status": 200}
    again = await client.post(f"{path}/{oldest['id']}/resend")
    assert (again.status_code, again.json()["state"]) == (202, "pending")
    await send(pool, dispatcher())
    assert [request.headers["webhook-id"] for request in fake.requests].count(event.id) == 3
    (_, resent) = (await client.get(path)).json()["data"]
    assert (resent["state"], len(resent["attempts"])) == ("delivered", 3)


async def test_nothing_is_sent_again_to_a_disabled_or_another_endpoint(client: httpx.AsyncClient, pool: Pool):
    made, other = await create(client), await create(client, types=["loyalty.tier.*"])
    await shop.handle(pool, shop.moved("activated", "mona", 1))
    (delivery,) = (await client.get(f"{PATH}/{made['id']}/deliveries")).json()["data"]
    resend = f"deliveries/{delivery['id']}/resend"
    assert (await client.post(f"{PATH}/{other['id']}/{resend}")).status_code == 404
    await client.patch(f"{PATH}/{made['id']}", json={"enabled": False})
    refused = await client.post(f"{PATH}/{made['id']}/{resend}")
    assert (refused.status_code, refused.json()["code"]) == (409, "endpoint_disabled")
