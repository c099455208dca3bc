import uuid

import httpx
import pytest
from fastapi import FastAPI, Request

from shared.http.request import request_id
from shared.telemetry import HTTP_REQUESTS
from tests.http.conftest import AsKey


@pytest.mark.parametrize("sent", ["a", "req-1", "01J9:a/b.c~d+e=f@g_h", "x" * 128])
async def test_a_valid_id_is_kept(client: httpx.AsyncClient, sent: str):
    answer = await client.get("/livez", headers={"X-Request-Id": sent})
    assert answer.headers["x-request-id"] == sent


@pytest.mark.parametrize("sent", ["", "a b", "x" * 129, "é", 'a"b', "a\tb", "{}"])
async def test_any_other_id_is_replaced(client: httpx.AsyncClient, sent: str):
    answer = await client.get("/livez", headers={"X-Request-Id": sent.encode()})
    assert uuid.UUID(answer.headers["x-request-id"]).version == 7


async def test_each_request_without_an_id_gets_a_new_one(client: httpx.AsyncClient):
    ids = {(await client.get("/livez")).headers["x-request-id"] for _ in range(10)}
    assert len(ids) == 10


async def test_a_route_sees_the_id(app: FastAPI, client: httpx.AsyncClient):
    @app.get("/sees")
    async def sees(request: Request) -> dict[str, str]:
        return {"id": request_id(request)}

    answer = await client.get("/sees", headers={"X-Request-Id": "abc"})
    assert answer.json() == {"id": "abc"}


async def test_requests_are_counted_by_route_and_never_by_path(client: httpx.AsyncClient, as_key: AsKey):
    def count(method: str, route: str, status: int):
        return HTTP_REQUESTS.labels(method, route, status)._value.get()

    route = "/v1/customers/{id}/points"
    before = count("GET", route, "200"), count("GET", route, "401"), count("any", "unmatched", "404")
    await client.get("/v1/customers/somebody/points", headers=as_key("read"))
    await client.get("/v1/customers/somebody/points")
    await client.get("/v1/somewhere/else")
    after = count("GET", route, "200"), count("GET", route, "401"), count("any", "unmatched", "404")
    assert [b - a for a, b in zip(before, after, strict=True)] == [1, 1, 1]
