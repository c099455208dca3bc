from collections.abc import AsyncIterator
from typing import Any, cast

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from pydantic import BaseModel

from deploy.local.gateway import Gateway
from deploy.local.openapi import merged
from shared.http.app import new_app
from shared.http.auth import Authenticator
from shared.postgres.pool import Pool


class Database:
    """A pool that answers, or fails, the query of the probes."""

    def __init__(self) -> None:
        self.answers = True

    async def fetchval(self, _query: str) -> bool:
        return self.answers


@pytest.fixture
def tiers_database() -> Database:
    return Database()


@pytest.fixture
async def client(tiers_database: Database) -> AsyncIterator[httpx.AsyncClient]:
    points, tiers = _app("points", Database()), _app("tiers", tiers_database)
    router = APIRouter()

    @router.get("/v1/customers/{customer_id}/tier")
    async def tier(customer_id: str) -> dict[str, str]:
        return {"tier_of": customer_id}

    @points.post("/v1/customers/{customer_id}/holds")
    async def hold(customer_id: str) -> dict[str, str]:
        return {"hold_of": customer_id}

    tiers.include_router(router)
    transport = httpx.ASGITransport(Gateway({"points": points, "tiers": tiers}))
    async with httpx.AsyncClient(transport=transport, base_url="http://wafa") as client:
        yield client


def _app(service: str, database: Database) -> FastAPI:
    authenticator = Authenticator(None)
    pool = cast("Pool", database)
    return new_app(service, service.title(), pool=pool, authenticator=authenticator, open_paths=("/v1/",))


async def test_a_request_goes_to_the_app_that_has_its_route(client: httpx.AsyncClient):
    assert (await client.get("/v1/customers/7/tier")).json() == {"tier_of": "7"}
    assert (await client.post("/v1/customers/7/holds")).json() == {"hold_of": "7"}


async def test_another_method_of_a_known_path_is_answered_by_its_app(client: httpx.AsyncClient):
    answer = await client.put("/v1/customers/7/tier")
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")


async def test_an_unknown_path_is_answered_with_a_problem_document(client: httpx.AsyncClient):
    answer = await client.get("/v2/nothing")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "not_found"


async def test_it_is_ready_when_every_service_is(client: httpx.AsyncClient, tiers_database: Database):
    assert (await client.get("/readyz")).status_code == 200
    tiers_database.answers = False
    answer = await client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {"status": "not_ready", "services": {"points": "ready", "tiers": "not_ready"}}


async def test_liveness_and_metrics_are_of_the_process(client: httpx.AsyncClient):
    assert (await client.get("/livez")).status_code == 200
    assert "wafa_http_requests_total" in (await client.get("/metrics")).text


async def test_one_document_has_the_routes_of_all(client: httpx.AsyncClient):
    document = (await client.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    assert set(document["paths"]) == {"/v1/customers/{customer_id}/tier", "/v1/customers/{customer_id}/holds"}
    assert "Problem" in document["components"]["schemas"]
    assert "/v1/customers/{customer_id}/holds" in (await client.get("/")).text
    assert "openapi.json" in (await client.get("/docs")).text


def test_different_schemas_of_the_same_name_are_renamed_with_their_references():
    def document(model: type[BaseModel]) -> dict[str, Any]:
        app = FastAPI()

        @app.get(f"/{model.__doc__}")
        async def route() -> list[model]:  # type: ignore[valid-type]
            return []

        return app.openapi()

    def models() -> tuple[type[BaseModel], type[BaseModel]]:
        class Reason(BaseModel):
            """one"""

            kind: str

        class Line(BaseModel):
            """one"""

            reason: Reason

        first = Line

        class Reason(BaseModel):
            """two"""

            kind: int

        class Line(BaseModel):
            """two"""

            reason: Reason

        return first, Line

    points, tiers = (document(model) for model in models())
    whole = merged({"points": points, "tiers": tiers})
    schemas = whole["components"]["schemas"]
    assert schemas["Reason"]["properties"]["kind"]["type"] == "string"
    assert schemas["TiersReason"]["properties"]["kind"]["type"] == "integer"
    assert schemas["TiersLine"]["properties"]["reason"]["$ref"] == "#/components/schemas/TiersReason"
    items = whole["paths"]["/two"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]["items"]
    assert items["$ref"] == "#/components/schemas/TiersLine"
    assert tiers["components"]["schemas"].keys() == points["components"]["schemas"].keys(), (
        "the documents stay as they were"
    )
