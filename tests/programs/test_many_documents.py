"""The routes of a kind with many documents by id; the tests of earning rules cover kinds with one document.

Planted and caught here: versions counted over all documents; a taken id that is written over; an ETag that only
counts versions; a trigger that outlives a refusal; a draft that is admitted without the database.
"""

import asyncio
from typing import Any

import httpx
import pytest

from shared.postgres.pool import Pool
from tests.programs.conftest import Headers
from tests.programs.toys import Json

TOYS = "/v1/toys"


def toy(size: int = 5, *parts: str) -> Json:
    return {"size": size, "parts": list(parts)}


async def create(client: httpx.AsyncClient, headers: Headers, id_: str, document: Json | None = None) -> Json:
    answer = await client.post(TOYS, json={"id": id_} | (document or toy(5, "leg")), headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.json()


def refusal(answer: httpx.Response) -> tuple[int, str, list[str]]:
    problem = answer.json()
    return answer.status_code, problem["code"], [error["pointer"] for error in problem.get("errors", ())]


async def test_a_new_document_is_version_1_of_its_id(client: httpx.AsyncClient, marketing: Headers, reader: Headers):
    answer = await client.post(TOYS, json={"id": "bear"} | toy(7, "leg"), headers=marketing)
    created = answer.json()
    assert (answer.status_code, created["id"], created["version"], created["status"]) == (201, "bear", 1, "draft")
    assert created["document"] == {"from": "wood", "size": 7, "parts": ["leg"]}
    assert (created["warnings"], answer.headers["ETag"]) == ([], created["etag"])
    stored = await client.get(f"{TOYS}/bear/versions/1", headers=reader)
    assert stored.json() == {name: value for name, value in created.items() if name != "warnings"}


async def test_a_taken_id_is_refused_and_kept(client: httpx.AsyncClient, marketing: Headers, reader: Headers):
    await create(client, marketing, "bear")
    again = await client.post(TOYS, json={"id": "bear"} | toy(9, "arm"), headers=marketing)
    assert refusal(again) == (409, "exists", [])
    kept = (await client.get(f"{TOYS}/bear/versions", headers=reader)).json()["data"]
    assert [(version["version"], version["document"]["size"]) for version in kept] == [(1, 5)]


async def test_concurrent_creations_of_an_id_succeed_once(client: httpx.AsyncClient, marketing: Headers):
    answers = await asyncio.gather(
        *(client.post(TOYS, json={"id": "bear"} | toy(size, "leg"), headers=marketing) for size in range(1, 6))
    )
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409]


async def test_versions_are_counted_for_each_id(client: httpx.AsyncClient, marketing: Headers, reader: Headers):
    await create(client, marketing, "bear")
    for id_, number in (("bear", 2), ("duck", 1), ("duck", 2), ("bear", 3)):
        answer = await client.post(f"{TOYS}/{id_}/versions", json=toy(number, "leg"), headers=marketing)
        assert (answer.status_code, answer.json()["id"], answer.json()["version"]) == (201, id_, number)
    pages: list[Any] = []
    query: Json = {"limit": 2}
    while query.get("after") != "":
        page = (await client.get(f"{TOYS}/bear/versions", params=query, headers=reader)).json()
        pages.append([(version["id"], version["version"]) for version in page["data"]])
        query["after"] = page["next"] or ""
    assert pages == [[("bear", 3), ("bear", 2)], [("bear", 1)]]


async def test_concurrent_drafts_of_one_document_get_different_versions(client: httpx.AsyncClient, marketing: Headers):
    answers = await asyncio.gather(
        *(client.post(f"{TOYS}/bear/versions", json=toy(5, "leg"), headers=marketing) for _ in range(5))
    )
    assert sorted(answer.json()["version"] for answer in answers) == [1, 2, 3, 4, 5]


async def test_documents_are_listed_with_their_newest_version_and_the_one_in_force(
    client: httpx.AsyncClient, marketing: Headers, reader: Headers
):
    for id_ in ("bear", "duck", "fox"):
        await create(client, marketing, id_)
    await client.post(f"{TOYS}/bear/versions", json=toy(5, "leg"), headers=marketing)
    await client.post(f"{TOYS}/bear/versions/1/publish", headers=marketing)
    ahead = {"effective_at": "2100-01-01T00:00:00Z"}
    assert (await client.post(f"{TOYS}/fox/versions/1/publish", json=ahead, headers=marketing)).status_code == 200
    listed: list[Json] = []
    query: Json = {"limit": 2}
    while query.get("after") != "":
        page = (await client.get(TOYS, params=query, headers=reader)).json()
        listed += page["data"]
        query["after"] = page["next"] or ""
    assert [(entry["id"], entry["newest"], entry.get("in_force")) for entry in listed] == [
        ("fox", 1, None),
        ("duck", 1, None),
        ("bear", 2, 1),
    ]


async def test_a_draft_is_replaced_only_with_its_current_etag(client: httpx.AsyncClient, marketing: Headers):
    created = await create(client, marketing, "bear")
    path = f"{TOYS}/bear/versions/1"
    assert refusal(await client.put(path, json=toy(6, "leg"), headers=marketing))[:2] == (428, "precondition_required")
    seen = marketing | {"If-Match": created["etag"]}
    replaced = await client.put(path, json=toy(6, "leg"), headers=seen)
    assert (replaced.status_code, replaced.json()["document"]["size"]) == (200, 6)
    assert replaced.headers["ETag"] == replaced.json()["etag"] != created["etag"]
    assert refusal(await client.put(path, json=toy(7, "leg"), headers=seen))[:2] == (412, "changed_meanwhile")
    assert refusal(await client.post(f"{path}/publish", headers=seen))[:2] == (412, "changed_meanwhile")
    published = await client.post(f"{path}/publish", headers=marketing | {"If-Match": replaced.json()["etag"]})
    assert (published.status_code, published.json()["status"]) == (200, "published")
    again = await client.put(path, json=toy(8, "leg"), headers=marketing | {"If-Match": "*"})
    assert refusal(again)[:2] == (409, "already_published")
    assert refusal(await client.post(f"{path}/publish", headers=marketing))[:2] == (409, "already_published")


@pytest.mark.parametrize(
    ("sent", "pointers"),
    [
        (toy(0), ["/size"]),
        (toy(5, "leg", "arm", "leg", "leg"), ["/parts/2", "/parts/3"]),
        (toy(5) | {"color": "red"}, ["/color"]),
        (toy(5, "table:nowhere"), ["/parts/0"]),
    ],
)
async def test_a_wrong_document_is_refused_where_it_is_wrong(
    client: httpx.AsyncClient, pool: Pool, marketing: Headers, sent: Json, pointers: list[str]
):
    created = await create(client, marketing, "bear")
    refused = 422, "invalid_request", pointers
    assert refusal(await client.post(TOYS, json={"id": "duck"} | sent, headers=marketing)) == refused
    assert refusal(await client.post(f"{TOYS}/bear/versions", json=sent, headers=marketing)) == refused
    seen = marketing | {"If-Match": created["etag"]}
    assert refusal(await client.put(f"{TOYS}/bear/versions/1", json=sent, headers=seen)) == refused
    assert await pool.fetchval("SELECT count(*) FROM document_version WHERE kind = 'toy' AND revision = 1") == 1


@pytest.mark.parametrize("id_", ["", "a b", "a/b", "x" * 65, 5, None])
async def test_a_wrong_id_is_refused(client: httpx.AsyncClient, marketing: Headers, id_: object):
    answer = await client.post(TOYS, json={"id": id_} | toy(), headers=marketing)
    assert refusal(answer) == (422, "invalid_request", ["/id"])


async def test_unknown_documents_and_versions_are_not_found(
    client: httpx.AsyncClient, marketing: Headers, reader: Headers
):
    await create(client, marketing, "bear")
    for path in ("duck/versions", "duck/versions/1", "bear/versions/2"):
        assert refusal(await client.get(f"{TOYS}/{path}", headers=reader))[:2] == (404, "not_found"), path
    assert (await client.post(f"{TOYS}/duck/versions/1/publish", headers=marketing)).status_code == 404
    seen = marketing | {"If-Match": "*"}
    assert (await client.put(f"{TOYS}/bear/versions/2", json=toy(), headers=seen)).status_code == 404


async def test_publishing_and_its_trigger_take_effect_together_or_not_at_all(
    client: httpx.AsyncClient, pool: Pool, marketing: Headers
):
    await create(client, marketing, "bear", toy(5))
    path = f"{TOYS}/bear/versions/1/publish"
    assert refusal(await client.post(path, headers=marketing)) == (409, "note_required", [])
    empty = await client.post(path, json={"note": ""}, headers=marketing)
    assert refusal(empty) == (422, "invalid_request", ["/note"])
    unknown = await client.post(path, json={"remark": "x"}, headers=marketing)
    assert refusal(unknown) == (422, "invalid_request", ["/remark"])
    assert await pool.fetchval("SELECT published_at FROM document_version WHERE id = 'bear'") is None
    key = marketing | {"Idempotency-Key": "once"}
    for _ in range(2):
        assert (await client.post(path, json={"note": "as agreed"}, headers=key)).status_code == 200
    published = await pool.fetch("SELECT value FROM outbox WHERE topic = 'toys'")
    assert [row["value"] for row in published] == [b"bear/1"]


async def test_a_draft_is_admitted_again_when_it_is_published(
    client: httpx.AsyncClient, pool: Pool, marketing: Headers
):
    await pool.execute("CREATE TABLE shelf ()")
    await create(client, marketing, "bear", toy(5, "leg", "table:shelf"))
    await pool.execute("DROP TABLE shelf")
    answer = await client.post(f"{TOYS}/bear/versions/1/publish", headers=marketing)
    assert refusal(answer) == (422, "invalid_request", ["/parts/1"])


async def test_warnings_are_for_the_effective_instant(client: httpx.AsyncClient, marketing: Headers):
    await create(client, marketing, "bear", toy(101, "leg"))
    ahead = {"effective_at": "2100-01-01T00:00:00Z"}
    published = (await client.post(f"{TOYS}/bear/versions/1/publish", json=ahead, headers=marketing)).json()
    assert published["warnings"] == [{"pointer": "/size", "message": "too large for 2100"}]


async def test_what_the_database_shows_is_warned_about_last(client: httpx.AsyncClient, pool: Pool, marketing: Headers):
    sent = toy(101, "leg") | {"from": "table:shelf"}
    made = await create(client, marketing, "bear", sent)
    assert [warning["pointer"] for warning in made["warnings"]] == ["/size", "/from"]
    ahead = {"effective_at": "2100-01-01T00:00:00Z"}
    published = (await client.post(f"{TOYS}/bear/versions/1/publish", json=ahead, headers=marketing)).json()
    assert published["warnings"][1] == {"pointer": "/from", "message": "no such table in 2100"}
    await pool.execute("CREATE TABLE shelf ()")
    assert (await create(client, marketing, "cow", toy(5) | {"from": "table:shelf"}))["warnings"] == []


async def test_both_shapes_are_described_in_openapi(client: httpx.AsyncClient):
    document = (await client.get("/openapi.json")).json()
    assert set(document["paths"]) == {
        "/v1/toy-box",
        "/v1/toy-box/{version}",
        "/v1/toy-box/{version}/publish",
        "/v1/toys",
        "/v1/toys/{id}/versions",
        "/v1/toys/{id}/versions/{version}",
        "/v1/toys/{id}/versions/{version}/publish",
    }
    for path, item in document["paths"].items():
        for method, operation in item.items():
            assert operation["summary"], (path, method)
            assert operation["description"], (path, method)
            assert ("id" in [parameter["name"] for parameter in operation["parameters"]]) == ("{id}" in path), (
                path,
                method,
            )
    body = document["paths"]["/v1/toys"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/NewToy"}
    assert set(document["components"]["schemas"]["NewToy"]["properties"]) == {"id", "from", "size", "parts"}


async def test_the_one_document_ships_in_force(client: httpx.AsyncClient, reader: Headers):
    [shipped] = (await client.get("/v1/toy-box", headers=reader)).json()["data"]
    assert (shipped["version"], shipped["status"], shipped["effective_at"]) == (1, "published", "0001-01-01T00:00:00Z")
    assert not {"id", "created_by", "published_by"} & set(shipped)
