"""The catalogue of rewards over HTTP.

Planted and caught here: a PATCH that clears what is absent; a second editor who overwrites the first; an ETag that
leaves the stock out.
"""

import asyncio
from typing import Any

import httpx
import pytest

from shared.contracts.values import format_instant
from shared.postgres.pool import Pool
from tests.points.asking import at, done, enact, of, pointers, post, refusal
from tests.points.books import deliver
from tests.points.conftest import Headers, Key, customer, get
from tests.points.shop import hour, purchase

TEA: Any = {"id": "tea", "name": {"en": "Tea", "ar": "شاي", "zh-Hant-TW": "茶"}, "points": 30, "kind": "free_product"}
FULL: Any = TEA | {
    "id": "شاي ١",
    "stock": 5,
    "limit_per_customer": 2,
    "minimum_tier": "silver",
    "from": "2026-03-01T15:00:00+03:00",
    "to": "2026-04-01T00:00:00Z",
}


async def patch(client: httpx.AsyncClient, headers: Headers, body: object, **more: str) -> httpx.Response:
    return await client.patch("/v1/rewards/tea", json=body, headers=headers | more)


async def test_a_reward_is_added_and_read(client: httpx.AsyncClient, marketing: Headers, reader: Headers):
    with at(hour(0)):
        answer = await post(client, "/v1/rewards", marketing, FULL)
    assert answer.status_code == 201
    made = answer.json()
    assert made.pop("etag") == answer.headers["ETag"]
    assert made == FULL | {"from": format_instant(hour(0)), "created_at": format_instant(hour(0))}
    for headers in (reader, marketing, customer("ann")):
        shown = await client.get("/v1/rewards/%D8%B4%D8%A7%D9%8A%20%D9%A1", headers=headers)
        assert (shown.status_code, shown.json()) == (200, answer.json())
        assert shown.headers["ETag"] == answer.headers["ETag"]
    # Fields that are not set are absent.
    made = await done(client, "/v1/rewards", marketing, TEA)
    assert set(made) == {*TEA, "created_at", "etag"}
    assert made["name"] == TEA["name"]


async def test_an_id_is_taken_once(client: httpx.AsyncClient, points_pool: Pool, marketing: Headers):
    answers = await asyncio.gather(
        *(post(client, "/v1/rewards", marketing, TEA | {"points": points}) for points in (1, 2, 3))
    )
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409]
    assert refusal(await post(client, "/v1/rewards", marketing, TEA)) == (409, "reward_exists")
    assert await points_pool.fetchval("SELECT count(*) FROM reward") == 1


async def test_the_catalog_is_listed_in_pages_newest_first(
    client: httpx.AsyncClient, marketing: Headers, reader: Headers
):
    assert await get(client, "/v1/rewards", reader) == {"data": [], "next": None}
    for number in range(7):
        # Three rewards of the same instant are in the order of their ids.
        with at(hour(number // 3)):
            await done(client, "/v1/rewards", marketing, TEA | {"id": f"tea-{number}"})
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    for size in (2, 2, 2, 1):
        shown = await get(client, "/v1/rewards", reader, **query)
        assert len(shown["data"]) == size
        seen += [reward["id"] for reward in shown["data"]]
        query["after"] = shown["next"]
        # New rewards do not shift the pages.
        await done(client, "/v1/rewards", marketing, TEA | {"id": f"new-{len(seen)}"})
    assert (seen, shown["next"]) == ([f"tea-{number}" for number in range(6, -1, -1)], None)
    for bad in ({"limit": 0}, {"limit": 201}, {"after": "x"}, {"after": "WzFd"}):
        assert (await client.get("/v1/rewards", params=bad, headers=reader)).status_code in {400, 422}


async def test_a_change_keeps_absent_fields_and_clears_null_ones(
    client: httpx.AsyncClient, marketing: Headers, reader: Headers
):
    made = await done(client, "/v1/rewards", marketing, FULL | {"id": "tea"})
    answer = await patch(client, marketing, {"points": 40, "name": {"ar": "شاي"}})
    assert (answer.status_code, answer.headers["ETag"]) == (200, answer.json()["etag"])
    assert answer.json() == made | {"points": 40, "name": {"ar": "شاي"}, "etag": answer.json()["etag"]}
    cleared = dict.fromkeys(("stock", "limit_per_customer", "minimum_tier", "from", "to"))
    answer = await patch(client, marketing, cleared)
    assert set(answer.json()) == {"id", "name", "points", "kind", "created_at", "etag"}
    answer = await patch(client, marketing, {"stock": 0, "kind": "gift"})
    assert (answer.json()["stock"], answer.json()["kind"]) == (0, "gift")
    before = answer.json()
    answer = await patch(client, marketing, {})
    assert {**answer.json(), "etag": ""} == before | {"etag": ""}
    assert await get(client, "/v1/rewards/tea", reader) == answer.json()
    assert refusal(await client.patch("/v1/rewards/none", json={}, headers=marketing)) == (404, "not_found")
    assert refusal(await client.get("/v1/rewards/none", headers=reader)) == (404, "not_found")


async def test_the_second_of_two_editors_is_refused(
    client: httpx.AsyncClient, points_pool: Pool, marketing: Headers, key: Key
):
    made = await done(client, "/v1/rewards", marketing, TEA | {"stock": 5})
    seen = {"If-Match": made["etag"]}
    answers = await asyncio.gather(*(patch(client, marketing, {"points": points}, **seen) for points in (31, 32, 33)))
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412]
    assert refusal(await patch(client, marketing, {"points": 1}, **seen)) == (412, "changed_meanwhile")
    assert refusal(await patch(client, marketing, {"points": 1}, **{"If-Match": '"x"'})) == (412, "changed_meanwhile")
    newest = (await patch(client, marketing, {"points": 20}, **{"If-Match": "*"})).json()
    # A redemption meanwhile counts: the stock cannot be overwritten.
    await deliver(points_pool, purchase("1", "100.00"))
    await done(client, of("ann", "redemptions"), key("redeem"), {"reward_id": "tea"})
    assert (await patch(client, marketing, {"stock": 9}, **{"If-Match": newest["etag"]})).status_code == 412
    shown = (await client.get("/v1/rewards/tea", headers=marketing)).json()
    assert (shown["stock"], shown["points"]) == (4, 20)
    assert (await patch(client, marketing, {"stock": 9}, **{"If-Match": shown["etag"]})).json()["stock"] == 9


BAD: list[tuple[dict[str, Any], list[str]]] = [
    ({"id": "a/b"}, ["/id"]),
    ({"name": {}}, ["/name"]),
    ({"name": None}, ["/name"]),
    ({"name": "Tea"}, ["/name"]),
    ({"name": {"en": 5}}, ["/name/en"]),
    ({"name": {"not a locale": "Tea"}}, ["/name/not a locale"]),
    ({"points": 0}, ["/points"]),
    ({"points": "5"}, ["/points"]),
    ({"points": None}, ["/points"]),
    ({"kind": "car"}, ["/kind"]),
    ({"kind": None}, ["/kind"]),
    ({"stock": -1}, ["/stock"]),
    ({"limit_per_customer": 0}, ["/limit_per_customer"]),
    ({"minimum_tier": "platinum"}, ["/minimum_tier"]),
    ({"minimum_tier": ""}, ["/minimum_tier"]),
    ({"from": "2026-03-01"}, ["/from"]),
    ({"to": "soon"}, ["/to"]),
    ({"from": "2026-03-01T00:00:00Z", "to": "2026-03-01T03:00:00+03:00"}, ["/to"]),
    ({"from_": "2026-03-01T00:00:00Z"}, ["/from_"]),
    ({"colour": "red"}, ["/colour"]),
]


@pytest.mark.parametrize(("fields", "wrong"), BAD)
async def test_a_bad_reward_is_refused_where_it_is_wrong(
    client: httpx.AsyncClient, points_pool: Pool, marketing: Headers, fields: dict[str, Any], wrong: list[str]
):
    assert pointers(await post(client, "/v1/rewards", marketing, TEA | fields)) == wrong
    assert await points_pool.fetchval("SELECT count(*) FROM reward") == 0
    made = await done(client, "/v1/rewards", marketing, TEA)
    assert pointers(await patch(client, marketing, fields)) == wrong
    assert (await client.get("/v1/rewards/tea", headers=marketing)).json() == made


async def test_a_changed_end_is_checked_against_the_unchanged_one(client: httpx.AsyncClient, marketing: Headers):
    await done(client, "/v1/rewards", marketing, TEA | {"from": "2026-03-01T00:00:00Z"})
    assert pointers(await patch(client, marketing, {"to": "2026-03-01T00:00:00Z"})) == ["/to"]
    assert (await patch(client, marketing, {"to": "2026-03-02T00:00:00Z"})).status_code == 200
    assert pointers(await patch(client, marketing, {"from": "2026-03-02T00:00:00Z"})) == ["/from"]
    assert (await patch(client, marketing, {"from": "2026-03-02T00:00:00Z", "to": None})).status_code == 200
    assert pointers(await post(client, "/v1/rewards", marketing, {})) == ["/id", "/name", "/points", "/kind"]


async def test_a_minimum_tier_must_be_a_tier_of_the_rules_in_force(
    client: httpx.AsyncClient, points_pool: Pool, marketing: Headers
):
    assert pointers(await post(client, "/v1/rewards", marketing, TEA | {"minimum_tier": "bronze"})) == ["/minimum_tier"]
    await done(client, "/v1/rewards", marketing, TEA | {"minimum_tier": "gold"})
    await enact(points_pool, tiers=["bronze", "iron"])
    assert (await patch(client, marketing, {"minimum_tier": "bronze"})).status_code == 200


async def test_a_change_checks_the_tier_only_if_it_sets_one(
    client: httpx.AsyncClient, points_pool: Pool, marketing: Headers
):
    await done(client, "/v1/rewards", marketing, TEA | {"minimum_tier": "gold"})
    await enact(points_pool, tiers=["bronze", "iron"])
    assert (await patch(client, marketing, {"points": 40})).json()["points"] == 40
    assert pointers(await patch(client, marketing, {"minimum_tier": "silver"})) == ["/minimum_tier"]


async def test_the_same_key_writes_once(client: httpx.AsyncClient, points_pool: Pool, marketing: Headers):
    first = await post(client, "/v1/rewards", marketing, TEA, name="once")
    again = await post(client, "/v1/rewards", marketing, TEA, name="once")
    assert (again.status_code, again.json(), again.headers["Idempotency-Replayed"]) == (201, first.json(), "true")
    assert again.headers["ETag"] == first.headers["ETag"]
    # No points move here: the key is optional.
    answer = await client.post("/v1/rewards", json=TEA | {"id": "other"}, headers=marketing)
    assert answer.status_code == 201
    assert await points_pool.fetchval("SELECT count(*) FROM reward") == 2


async def test_who_may_read_and_change_the_catalog(client: httpx.AsyncClient, key: Key):
    await done(client, "/v1/rewards", key("marketing"), TEA)
    who = {
        "nobody": ({}, 401, 401),
        "ann": (customer("ann"), 200, 403),
        "read": (key("read"), 200, 403),
        "redeem": (key("redeem"), 403, 403),
        "support": (key("support"), 403, 403),
        "marketing": (key("marketing"), 200, 200),
        "admin": (key("admin"), 200, 200),
    }
    for name, (headers, reads, writes) in who.items():
        for path in ("/v1/rewards", "/v1/rewards/tea"):
            assert (await client.get(path, headers=headers)).status_code == reads, name
        assert (await patch(client, headers, {"points": 31})).status_code == writes, name
        answer = await post(client, "/v1/rewards", headers, TEA | {"id": name})
        assert answer.status_code == {200: 201}.get(writes, writes), name
