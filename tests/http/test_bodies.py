"""The cost of a body before and while it is refused.

Planted and caught here: a pointer for every member of a body; a body that is read before its sender is authenticated;
messages for each of a hundred thousand errors; a large body that fails and stays counted.
"""

import json
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI
from pydantic import BaseModel, Field
from starlette.datastructures import Headers
from starlette.types import Message

from shared.http.auth import require
from shared.http.bodies import (
    BOUNDED,
    LARGE_AT_ONCE,
    LARGE_BY_PRINCIPAL,
    LARGEST_BODY,
    MAX_VALUES,
    SMALL_BODY,
    LargeBodies,
    admitted,
    at_most,
)
from shared.http.problems import MAX_ERRORS, Problem
from tests.http.conftest import AsKey, Line

JSON = {"Content-Type": "application/json"}
SWOLLEN = b'{"\\u0061' + b"k" * 60_000 + b'":[' + b",".join([b"0"] * 10_000) + b"]}"
"""It took 600 MB when a pointer was built for each element."""


class Basket(BaseModel):
    """A body whose lists are bounded."""

    lines: Annotated[list[Line], Field(max_length=1000), at_most(1000)]


Post = Callable[..., Awaitable[httpx.Response]]


@pytest.fixture
def post(baskets: FastAPI, client: httpx.AsyncClient, as_key: AsKey) -> Post:
    """Send bytes, as JSON unless the headers say otherwise."""

    async def send(content: bytes, headers: dict[str, str]) -> httpx.Response:
        return await client.post("/v1/baskets", content=content, headers=JSON | as_key("read") | headers)

    return send


@pytest.fixture
def baskets(app: FastAPI) -> FastAPI:
    @app.post("/v1/baskets", dependencies=[Depends(require("read"))])
    async def basket(sent: Annotated[Basket, BOUNDED]) -> int:
        return len(sent.lines)

    @app.post("/v1/anything", dependencies=[Depends(require("read"))])
    async def anything(sent: Annotated[list[Line] | dict[str, int], BOUNDED]) -> int:
        return len(sent)

    return app


async def peak(work: Awaitable[Any]) -> tuple[Any, int]:
    """The result of some work, and its peak of allocated bytes."""
    tracemalloc.start()
    try:
        return await work, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def giving(*parts: bytes) -> Callable[[], Awaitable[Message]]:
    messages = iter(
        [{"type": "http.request", "body": part, "more_body": index < len(parts)} for index, part in enumerate(parts, 1)]
    )

    async def receive() -> Message:
        return next(messages)

    return receive


@pytest.mark.parametrize(
    "body",
    [
        SWOLLEN,
        b'{"\\ud83d\\ude00' + b"k" * 60_000 + b'":[' + b",".join([b"0"] * 10_000) + b"]}",
        b'{"\\ud83d' + b"k" * 60_000 + b'":[' + b",".join([b"0"] * 10_000) + b"]}",
        b'["\\u0041",' + b",".join([b"{}"] * 20_000) + b"]",
        b'{"a":' * 900 + b'"\\ud83d\\ude00"' + b"}" * 900,
        b"[" * 500_000,
        b'{"lines":' + b"9" * 500_000 + b"}",
        b",".join([b"[]"] * 300_000),
        b'"' + b"\\u0000" * 100_000 + b'"',
        b'"\xf0\x9f\x98\x80' + b"k" * 500_000 + b'"',
    ],
    ids=lambda body: body[:12].decode(errors="replace"),
)
async def test_a_body_costs_a_small_multiple_of_its_size(
    baskets: FastAPI, client: httpx.AsyncClient, as_key: AsKey, body: bytes
):
    headers = JSON | as_key("read")
    await client.post("/v1/baskets", content=b"{}", headers=headers)
    begun = time.perf_counter()
    answer, most = await peak(client.post("/v1/baskets", content=body, headers=headers))
    assert answer.status_code in {400, 422}
    assert len(answer.content) < 20_000
    assert most < 3_000_000 + 30 * len(body)
    assert time.perf_counter() - begun < 2.0  # traced: about ten times as slow as usual


@pytest.mark.parametrize("path", ["/v1/baskets", "/v1/nothing", "/nothing"])
@pytest.mark.parametrize("authorization", [None, "Bearer nonsense"])
async def test_no_body_is_read_before_its_sender_is_authenticated(
    baskets: FastAPI, path: str, authorization: str | None
):
    async def never() -> Message:
        raise AssertionError("the body was asked for")

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"content-length", b"9999999")]
    if authorization:
        headers.append((b"authorization", authorization.encode()))
    scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b""}
    await baskets(scope | {"headers": headers}, never, send)
    assert sent[0]["status"] == 401


async def test_anybody_may_send_a_small_body_to_an_open_path():
    async with admitted(giving(b" " * SMALL_BODY), Headers(), None, LargeBodies()) as receive:
        assert len((await receive())["body"]) == SMALL_BODY
    with pytest.raises(Problem, match="413"):
        async with admitted(giving(b" " * SMALL_BODY, b"x"), Headers(), None, LargeBodies()):
            pass


async def test_an_incomplete_body_is_refused():
    messages = iter([{"type": "http.request", "body": b"{}", "more_body": True}, {"type": "http.disconnect"}])

    async def receive() -> Message:
        return next(messages)

    with pytest.raises(Problem, match="408 body_incomplete"):
        async with admitted(receive, Headers(), "key:a", LargeBodies()):
            pass


async def test_the_number_of_large_bodies_at_once_is_bounded():
    large = LargeBodies()

    def sent_by(principal: str, body: bytes = b" " * (SMALL_BODY + 1)):
        return admitted(giving(body), Headers(), principal, large)

    one = [sent_by("key:a") for _ in range(LARGE_BY_PRINCIPAL)]
    for body in one:
        await body.__aenter__()
    with pytest.raises(Problem, match="503 too_many_large_bodies"):
        await sent_by("key:a").__aenter__()
    async with sent_by("key:a", b"{}"):
        pass  # a small one always
    others = [sent_by(f"customer:{number}") for number in range(LARGE_AT_ONCE - LARGE_BY_PRINCIPAL)]
    for body in others:
        await body.__aenter__()
    with pytest.raises(Problem, match="503 too_many_large_bodies") as refused:
        await sent_by("key:z").__aenter__()
    assert refused.value.headers["Retry-After"] == "1"
    for body in (*one, *others):
        await body.__aexit__(None, None, None)
    for content in (b"\xff" * (SMALL_BODY + 1), b"\xff" * (LARGEST_BODY + 1)):
        for _ in range(LARGE_AT_ONCE + 1):
            with pytest.raises(Problem, match=r"4(13|22)"):
                await sent_by("key:a", content).__aenter__()


async def test_a_bounded_number_of_errors_is_listed_and_the_rest_counted(
    baskets: FastAPI, client: httpx.AsyncClient, as_key: AsKey
):
    headers = as_key("read")
    answer = await client.post("/v1/baskets", json={"lines": [0] * 100}, headers=headers)
    found = answer.json()
    assert (answer.status_code, len(found["errors"]), found["errors_omitted"]) == (422, MAX_ERRORS, 50)
    assert found["errors"][49]["pointer"] == "/lines/49"
    answer = await client.post("/v1/baskets", json={"lines": [0] * 50}, headers=headers)
    assert (len(answer.json()["errors"]), "errors_omitted" in answer.json()) == (50, False)
    answer = await client.post("/v1/baskets", json={"lines": [0] * 10_000}, headers=headers)
    assert answer.json()["errors"] == [{"pointer": "/lines", "message": "At most 1000 items, not 10000."}]
    answer = await client.post("/v1/anything", json=[{}] * 20_000, headers=headers)
    assert (len(answer.json()["errors"]), answer.json()["errors_omitted"]) == (1, 40_000)


async def test_echoed_input_is_cut(baskets: FastAPI, client: httpx.AsyncClient, as_key: AsKey):
    answer = await client.post("/v1/anything", json={"k" * 100_000: "x" * 100_000}, headers=as_key("read"))
    assert answer.status_code == 422
    assert len(answer.content) < 3000
    assert "…" in answer.json()["errors"][-1]["pointer"]


async def test_a_body_has_a_bounded_number_of_members_and_elements(
    baskets: FastAPI, client: httpx.AsyncClient, as_key: AsKey
):
    headers = JSON | as_key("read")
    answer = await client.post("/v1/anything", json={str(number): 0 for number in range(MAX_VALUES)}, headers=headers)
    assert (answer.status_code, answer.json()) == (200, MAX_VALUES)
    answer = await client.post("/v1/anything", content=b"[" + b",".join([b"0"] * 60_000) + b"]", headers=headers)
    assert answer.status_code == 422
    assert str(MAX_VALUES) in answer.json()["detail"]


@pytest.mark.parametrize(
    "content, headers, status",
    [
        (b"\x1f\x8b\x08", {"Content-Encoding": "gzip"}, 415),
        (b"{}", {"Content-Encoding": "br, identity"}, 415),
        (b'{"lines":[]}', {"Content-Encoding": "identity"}, 200),
        (b'{"lines":[]}', {"Content-Type": "text/plain"}, 415),
        (b"--x\r\n\r\n--x--", {"Content-Type": "multipart/form-data; boundary=x"}, 415),
        (b"lines=1", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
        (b'{"lines":[]}', {"Content-Type": "application/vnd.shop+json; charset=utf-8"}, 200),
        (json.dumps({"lines": []}).encode("utf-16"), {}, 422),
        (b'{"lines":[],"lines":[0]}', {}, 422),  # the last of two members with the same name counts
        (b'{"lines":[0],"lines":[]}', {}, 200),
        (b'{"lines":[{"sku":"a","points":' + b"9" * 5000 + b"}]}", {}, 400),
        (b'{"lines":[{"sku":"a","points":NaN}]}', {}, 422),
        (b'{"lines":[{"sku":"a","points":1e999}]}', {}, 422),
        (b'{"lines":' + b"[" * 5000, {}, 400),
        (b'{"lines":[', {}, 400),
        (b'\xef\xbb\xbf{"lines":[]}', {}, 200),
        (b"", {}, 422),
    ],
)
async def test_anything_but_plain_json_is_refused(post: Post, content: bytes, headers: dict[str, str], status: int):
    answer = await post(content, headers)
    assert answer.status_code == status, answer.text
