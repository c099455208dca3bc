"""A small API made by `new_app`, like that of a service."""

import io
import json
import logging
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
import structlog
from fastapi import APIRouter, Depends, FastAPI
from joserfc import jwt
from joserfc.jwk import OctKey
from pydantic import BaseModel, Field

from deploy.keys import create_key
from shared import telemetry
from shared.http.app import new_app
from shared.http.auth import Authenticator, CustomerId, JwtSettings, Principal, customer_or, require, to_customer
from shared.http.bodies import BOUNDED
from shared.http.paging import DEFAULT_LIMIT, After, Limit, Page, decode_cursor, page

Headers = dict[str, str]
AsKey = Callable[..., Headers]
AsCustomer = Callable[[str], Headers]
JsonLog = Callable[[], list[dict[str, Any]]]

SECRET = "a secret of thirty-two bytes or so"


class Line(BaseModel):
    sku: str
    points: Annotated[int, Field(gt=0)]


class Order(BaseModel):
    lines: list[Line]
    properties: dict[str, Any] = {}


class StubPool:
    """A pool for apps whose routes need no database; `answers` may be an exception."""

    answers: object = True

    async def fetchval(self, _statement: str) -> object:
        if isinstance(self.answers, Exception):
            raise self.answers
        return self.answers


def router() -> APIRouter:
    routes = APIRouter()

    @routes.get("/v1/customers/{id}/points")
    async def points(
        customer_id: CustomerId, who: Annotated[Principal, Depends(customer_or("read"))]
    ) -> dict[str, str]:
        return {"customer_id": customer_id, "principal": who.name}

    @routes.post("/v1/customers/{id}/adjustments")
    async def adjust(
        customer_id: CustomerId, who: Annotated[Principal, Depends(customer_or("support"))]
    ) -> dict[str, str]:
        return {"customer_id": customer_id, "principal": who.name}

    @routes.post("/v1/customers/{id}/corrections", dependencies=[Depends(to_customer("support"))])
    async def correct(customer_id: CustomerId) -> dict[str, str]:
        return {"customer_id": customer_id}

    @routes.post("/v1/orders", dependencies=[Depends(require("read"))])
    async def order(sent: Annotated[Order, BOUNDED]) -> Order:
        return sent

    @routes.post("/v1/quotes", dependencies=[Depends(require("read", "customer"))])
    async def quote() -> dict[str, str]:
        return {}

    @routes.get("/v1/numbers")
    async def numbers(limit: Limit = DEFAULT_LIMIT, after: After = None) -> Page[int]:
        position = decode_cursor(after, tuple[int])
        below = position[0] if position else 120
        return page(list(range(below - 1, -1, -1))[: limit + 1], limit, lambda number: (number,))

    return routes


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


@pytest.fixture
def pool() -> StubPool:
    return StubPool()


@pytest.fixture
def app(keys_file: Path, pool: StubPool) -> FastAPI:
    authenticator = Authenticator(keys_file, JwtSettings(key=SECRET))
    made = new_app("toys", "Toys", pool=pool, authenticator=authenticator)
    made.include_router(router())
    return made


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://wafa.example") as opened:
        yield opened


@pytest.fixture
def as_key(keys_file: Path) -> AsKey:
    """Headers of a new API key with these scopes."""

    def headers(*scopes: str) -> Headers:
        return {"Authorization": f"Bearer {create_key(keys_file, scopes, 'test')}"}

    return headers


@pytest.fixture
def as_customer() -> AsCustomer:
    """Headers of a customer's own token."""

    def headers(customer_id: str) -> Headers:
        claims = {"sub": customer_id, "scope": "customer", "exp": 4_000_000_000}
        token = jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(SECRET))
        return {"Authorization": f"Bearer {token}"}

    return headers


@pytest.fixture
def json_log(monkeypatch: pytest.MonkeyPatch) -> Iterator[JsonLog]:
    """The lines that the product has logged since the last call, parsed."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", stream)
        telemetry.configure("toys")

    def lines() -> list[dict[str, Any]]:
        parsed = [json.loads(line) for line in stream.getvalue().splitlines()]
        stream.seek(0)
        stream.truncate()
        return [line for line in parsed if line["logger"].startswith("shared.")]

    yield lines
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
