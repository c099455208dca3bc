import asyncio
import json

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from starlette.responses import StreamingResponse

from shared.http.bodies import LARGEST_BODY
from shared.http.problems import FieldError, Problem
from tests.http.conftest import AsKey, JsonLog


def add(app: FastAPI, error: Exception):
    @app.get("/raises")
    async def raises() -> None:
        raise error


async def test_an_unknown_route_is_a_404_problem(client: httpx.AsyncClient):
    answer = await client.get("/v1/nothing")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "There is nothing at this path.",
        "code": "not_found",
        "request_id": answer.headers["x-request-id"],
    }


async def test_a_trailing_slash_is_another_path(client: httpx.AsyncClient, as_key: AsKey):
    assert (await client.get("/v1/customers/a/points/", headers=as_key("read"))).status_code == 404


async def test_a_wrong_method_is_a_405_problem_that_names_the_allowed_ones(client: httpx.AsyncClient, as_key: AsKey):
    answer = await client.delete("/v1/orders", headers=as_key("read"))
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"


async def test_errors_in_a_body_have_json_pointers(client: httpx.AsyncClient, as_key: AsKey):
    body = {"lines": [{"sku": "a", "points": 1}, {"sku": 7, "points": 0}]}
    answer = await client.post("/v1/orders", json=body, headers=as_key("read"))
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/lines/1/sku", "/lines/1/points"]
    assert all(error["message"] for error in answer.json()["errors"])


async def test_errors_in_the_query_name_the_parameter(client: httpx.AsyncClient):
    answer = await client.get("/v1/numbers?limit=201")
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/query/limit")


@pytest.mark.parametrize("body", [b"{", b"", b"\xff\xfe", b"[" * 200_000, b'{"lines": ' + b"9" * 5000 + b"}"])
async def test_a_body_that_is_not_json_is_refused(client: httpx.AsyncClient, as_key: AsKey, body: bytes):
    headers = {"Content-Type": "application/json", **as_key("read")}
    answer = await client.post("/v1/orders", content=body, headers=headers)
    assert answer.status_code in {400, 422}
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_form_is_a_415(client: httpx.AsyncClient, as_key: AsKey):
    answer = await client.post("/v1/orders", data={"lines": "1"}, headers=as_key("read"))
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    "body, pointer",
    [
        (r'{"lines": [{"sku": "a\u0000", "points": 1}]}', "/lines/0/sku"),
        (r'{"lines": [], "properties": {"a/b": ["\ud800"]}}', "/properties/a~1b/0"),
        (r'{"lines": [], "properties": {"\u0000": 1}}', "/properties"),
    ],
)
async def test_nul_or_half_a_surrogate_pair_in_a_string_is_refused(
    client: httpx.AsyncClient, as_key: AsKey, body: str, pointer: str
):
    headers = {"Content-Type": "application/json", **as_key("read")}
    answer = await client.post("/v1/orders", content=body, headers=headers)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32-be"])
async def test_a_body_in_another_encoding_is_refused(client: httpx.AsyncClient, as_key: AsKey, encoding: str):
    headers = {"Content-Type": "application/json", **as_key("read")}
    body = r'{"lines": [], "properties": {"é": "\u0000"}}'.encode(encoding)
    answer = await client.post("/v1/orders", content=body, headers=headers)
    assert (answer.status_code, answer.json()["detail"]) == (422, "The body is not UTF-8.")


async def test_a_deeply_nested_body_is_refused_or_served(client: httpx.AsyncClient, as_key: AsKey):
    headers = {"Content-Type": "application/json", **as_key("read")}
    body = '{"lines": [], "properties": {"deep": ' + "[" * 900 + r'"\u0000"' + "]" * 900 + "}}"
    answer = await client.post("/v1/orders", content=body, headers=headers)
    assert answer.status_code in {400, 422}


async def test_an_escaped_backslash_before_u0000_is_not_nul(client: httpx.AsyncClient, as_key: AsKey):
    body = {"lines": [], "properties": {"path": "C:\\u0000", "smile": "😀"}}
    answer = await client.post(
        "/v1/orders", content=json.dumps(body), headers={"Content-Type": "application/json", **as_key("read")}
    )
    assert answer.json()["properties"] == body["properties"]


async def test_a_query_with_nul_is_refused(client: httpx.AsyncClient):
    assert (await client.get("/v1/numbers?after=%00")).status_code == 400


async def test_a_large_body_is_refused_with_or_without_a_length(client: httpx.AsyncClient, as_key: AsKey):
    async def chunks():
        for _ in range(3):
            yield b" " * (LARGEST_BODY // 2)

    headers = {"Content-Type": "application/json", **as_key("read")}
    for content in (b" " * (LARGEST_BODY + 1), chunks()):
        answer = await client.post("/v1/orders", content=content, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


async def test_a_problem_carries_its_errors_extra_members_and_headers(app: FastAPI, client: httpx.AsyncClient):
    errors = (FieldError(pointer="/points", message="Too many."),)
    problem = Problem(409, "insufficient_points", "100 points are missing.", errors, missing=100)
    add(app, problem.with_headers({"Retry-After": "5"}))
    answer = await client.get("/raises")
    assert answer.status_code == 409
    assert answer.headers["retry-after"] == "5"
    assert answer.json()["errors"] == [{"pointer": "/points", "message": "Too many."}]
    assert answer.json()["missing"] == 100


async def test_an_unexpected_error_is_a_500_without_details_and_is_logged_with_its_place(
    app: FastAPI, client: httpx.AsyncClient, json_log: JsonLog
):
    add(app, RuntimeError("password=hunter2"))
    answer = await client.get("/raises", headers={"X-Request-Id": "abc"})
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "hunter2" not in answer.text
    assert "Traceback" not in answer.text
    logged = json_log()[-1]
    assert (logged["event"], logged["request_id"], logged["route"]) == ("request_failed", "abc", "/raises")
    assert logged["failure"] == "RuntimeError"
    assert logged["trace"][-1].endswith(" raises")
    assert "hunter2" not in str(logged)


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.ConnectionDoesNotExistError("gone"),
        asyncpg.DeadlockDetectedError("deadlock"),
        asyncpg.QueryCanceledError("statement timeout"),
        ConnectionRefusedError("refused"),
        TimeoutError(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_transient_failure_is_a_503_with_retry_after(app: FastAPI, client: httpx.AsyncClient, error: Exception):
    add(app, error)
    answer = await client.get("/raises")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize("error", [asyncpg.UndefinedColumnError("bug"), asyncpg.InterfaceError("wrong argument")])
async def test_a_wrong_statement_is_not_a_transient_failure(app: FastAPI, client: httpx.AsyncClient, error: Exception):
    add(app, error)
    assert (await client.get("/raises")).status_code == 500


async def test_a_failure_after_the_response_began_aborts_the_connection(app: FastAPI, client: httpx.AsyncClient):
    @app.get("/breaks")
    async def breaks() -> StreamingResponse:
        async def content():
            yield b"half"
            await asyncio.sleep(0)
            raise RuntimeError("cut")

        return StreamingResponse(content())

    with pytest.raises(RuntimeError, match="cut"):
        await client.get("/breaks")


async def test_openapi_describes_problems_and_credentials(client: httpx.AsyncClient):
    document = (await client.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    answers = document["paths"]["/v1/customers/{id}/points"]["get"]["responses"]
    reference = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    assert answers["4XX"]["content"] == answers["5XX"]["content"] == reference
    assert "422" not in answers
    components = document["components"]
    assert set(components["schemas"]["Problem"]["required"]) == {
        "type",
        "title",
        "status",
        "detail",
        "code",
        "request_id",
    }
    assert "FieldError" in components["schemas"]
    assert components["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert document["paths"]["/v1/customers/{id}/points"]["get"]["security"] == [{"bearer": []}]
