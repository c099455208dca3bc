"""Adjustments over HTTP.

Planted and caught here: adjustments that a customer may make.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import pytest

from services.points.store import erasing
from shared.messaging.erasure import Erasure
from shared.postgres.pool import Pool
from tests.points.books import check_books, deliver, published
from tests.points.conftest import Headers, Key, customer, get
from tests.points.shop import purchase


async def post(
    client: httpx.AsyncClient, headers: Headers, body: dict[str, Any], *, name: str | None = None, to: str = "ann"
) -> httpx.Response:
    """Request an adjustment; `name` is its Idempotency-Key, default: a new one."""
    headers = headers | {"Idempotency-Key": name or str(uuid4())}
    return await client.post(f"/v1/customers/{quote(to, safe='')}/adjustments", json=body, headers=headers)


async def test_an_adjustment_moves_points_and_is_published(
    client: httpx.AsyncClient, points_pool: Pool, support: Headers
):
    answer = await post(client, support | {"X-Request-Id": "request-1"}, {"points": 70, "reason": "late parcel"})
    assert answer.status_code == 201
    made = answer.json()
    assert (made["kind"], made["points"], made["available_after"]) == ("adjusted", 70, 70)
    assert made["reason"] == {"kind": "adjustment", "note": "late parcel"}
    assert (await get(client, "/v1/customers/ann/points/transactions", customer("ann")))["data"] == [made]
    [event] = await published(points_pool)
    assert (event["type"], event["correlationid"]) == ("loyalty.points.adjusted.v1", "request-1")
    assert (event["data"]["points"], event["data"]["qualifying_points"]) == (70, 0)
    answer = await post(client, support, {"points": -20, "reason": "fraud", "note": "see case 7"})
    assert answer.json()["reason"] == {"kind": "adjustment", "note": "fraud"}
    balance = await get(client, "/v1/customers/ann/points", customer("ann"))
    assert (balance["available"], balance["lifetime_earned"]) == (50, 0)
    await check_books(points_pool)


async def test_only_support_sees_the_note(
    client: httpx.AsyncClient, points_pool: Pool, key: Key, support: Headers, reader: Headers
):
    secret = "she shouted at Tom"
    await post(client, support, {"points": 70, "reason": "goodwill", "note": secret})
    made = (await post(client, key("admin"), {"points": -20, "reason": "mistake"})).json()
    lines = await get(client, "/v1/customers/ann/points/transactions", customer("ann"))
    first = f"/v1/points/transactions/{lines['data'][1]['id']}"
    for headers in (customer("ann"), reader):
        seen = await client.get(first, headers=headers)
        assert seen.status_code == 200
        assert "by_hand" not in seen.json()
        assert secret not in seen.text
    assert secret not in str(lines)
    assert secret not in str(await published(points_pool))
    assert secret not in str(await points_pool.fetch("SELECT * FROM transaction"))
    assert secret not in str(await points_pool.fetch("SELECT * FROM idempotency_key"))
    name = f"key:{support['Authorization'].split('_')[1]}"
    seen = await get(client, first, key("read", "support"))
    assert seen["by_hand"] == {"principal": name, "note": secret}
    page = await get(client, "/v1/customers/ann/adjustments", support, limit=1)
    assert [(made["points"], made["reason"], "note" in made) for made in page["data"]] == [(-20, "mistake", False)]
    page = await get(client, "/v1/customers/ann/adjustments", support, after=page["next"])
    [shown] = page["data"]
    assert (shown["points"], shown["reason"], shown["note"], shown["principal"]) == (70, "goodwill", secret, name)
    assert shown["transaction_id"] == lines["data"][1]["id"] != made["id"]
    for headers, status in ((reader, 403), (customer("ann"), 403), (customer("bob"), 404)):
        assert (await client.get("/v1/customers/ann/adjustments", headers=headers)).status_code == status


@pytest.mark.parametrize("name", ["عميل ١", "a b?c#d&e", "100%", "%2F"])
async def test_a_customer_id_may_be_of_any_script(client: httpx.AsyncClient, support: Headers, name: str):
    assert (await post(client, support, {"points": 3, "reason": "شكرا"}, to=name)).status_code == 201
    [line] = (await get(client, f"/v1/customers/{quote(name, safe='')}/points/transactions", customer(name)))["data"]
    assert (line["points"], line["reason"]["note"]) == (3, "شكرا")


async def test_an_adjustment_needs_an_idempotency_key_and_counts_once(
    client: httpx.AsyncClient, points_pool: Pool, key: Key, support: Headers
):
    body = {"points": 70, "reason": "goodwill"}
    answer = await client.post("/v1/customers/ann/adjustments", json=body, headers=support)
    assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_required")
    first, *others = await asyncio.gather(*(post(client, support, body, name="once") for _ in range(3)))
    again = await post(client, support, body, name="once")
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json()["available_after"] == 70
    assert {answer.status_code for answer in (first, *others)} <= {201, 409}
    assert (await post(client, support, body | {"points": 71}, name="once")).status_code == 422
    assert (await post(client, support, body, name="once", to="bob")).status_code == 422
    assert (await post(client, key("support"), body, name="once")).json()["available_after"] == 140
    await check_books(points_pool)


async def test_taking_more_than_is_available_is_refused(client: httpx.AsyncClient, points_pool: Pool, support: Headers):
    await deliver(points_pool, purchase("1", "100.00"))
    refused = await post(client, support, {"points": -130, "reason": "fraud"}, name="later")
    assert (refused.status_code, refused.json()["code"], refused.json()["missing"]) == (409, "insufficient_points", 30)
    await deliver(points_pool, purchase("2", "30.00"))
    # A refusal is not stored under its key.
    assert (await post(client, support, {"points": -130, "reason": "fraud"}, name="later")).status_code == 201
    assert (await post(client, support, {"points": -1, "reason": "fraud"})).json()["missing"] == 1


@pytest.mark.parametrize(
    "body",
    [
        {"points": 0, "reason": "x"},
        {"points": 1.5, "reason": "x"},
        {"points": "5", "reason": "x"},
        {"points": True, "reason": "x"},
        {"points": 10**12, "reason": "x"},
        {"points": 5},
        {"points": 5, "reason": ""},
        {"points": 5, "reason": "x" * 201},
        {"points": 5, "reason": "x\x00"},
        {"points": 5, "reason": "x", "note": "x" * 2001},
    ],
)
async def test_a_bad_adjustment_is_422(client: httpx.AsyncClient, points_pool: Pool, support: Headers, body: Any):
    answer = await post(client, support, body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert await points_pool.fetchval("SELECT count(*) FROM account") == 0


async def test_who_may_adjust(client: httpx.AsyncClient, points_pool: Pool, key: Key):
    body = {"points": 5, "reason": "x"}
    assert (await client.post("/v1/customers/ann/adjustments", json=body)).status_code == 401
    for headers, status in {"read": 403, "redeem": 403, "marketing": 403, "support": 201, "admin": 201}.items():
        assert (await post(client, key(headers), body)).status_code == status
    assert (await post(client, customer("ann"), body)).status_code == 403
    assert (await post(client, customer("bob"), body)).status_code == 404
    assert await points_pool.fetchval("SELECT sum(available) FROM account") == 10


async def test_an_erasure_removes_the_texts_and_keeps_author_and_time(
    client: httpx.AsyncClient, points_pool: Pool, support: Headers
):
    for customer_id in ("ann", "bob"):
        await post(client, support, {"points": 70, "reason": "goodwill", "note": "case 7"}, to=customer_id)
    later = datetime.now(UTC) + timedelta(minutes=1)
    async with points_pool.acquire() as connection:
        assert await erasing.erase(connection, [Erasure("ann", later, later, later)], 100) == 2
        assert await erasing.erase(connection, [Erasure("ann", later, later, later)], 100) == 0
    [made] = (await get(client, "/v1/customers/ann/adjustments", support))["data"]
    assert (made["points"], made["reason"], "note" in made) == (70, None, False)
    assert made["principal"].startswith("key:")
    [kept] = (await get(client, "/v1/customers/bob/adjustments", support))["data"]
    assert (kept["reason"], kept["note"]) == ("goodwill", "case 7")
