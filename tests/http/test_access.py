import httpx
import pytest

from shared.http.auth import Kind, Principal, Scope
from tests.http.conftest import AsCustomer, AsKey


async def test_401_without_credentials_says_how_to_authenticate(client: httpx.AsyncClient):
    answer = await client.get("/v1/customers/a/points")
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert answer.headers["www-authenticate"] == 'Bearer realm="wafa"'


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Basic YTpi",
        "Bearer wafa_",
        "Bearer wafa_a_b",
        "Bearer a.b.c",
        "Bearer ..",
        "Bearer é",
        "Bearer " + "x" * 20_000,
    ],
)
async def test_bad_credentials_are_401(client: httpx.AsyncClient, authorization: str):
    answer = await client.get("/v1/customers/a/points", headers={"Authorization": authorization.encode()})
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


async def test_a_customer_sees_only_its_own_data(client: httpx.AsyncClient, as_customer: AsCustomer):
    headers = as_customer("layla")
    assert (await client.get("/v1/customers/layla/points", headers=headers)).status_code == 200
    answer = await client.get("/v1/customers/omar/points", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    unknown = await client.get("/v1/nothing", headers=headers)
    assert {**answer.json(), "request_id": ""} == {**unknown.json(), "request_id": ""}


async def test_ids_are_compared_exactly(client: httpx.AsyncClient, as_customer: AsCustomer):
    headers = as_customer("Layla")
    for other in ("layla", "Layla%20", "La%CC%88yla"):
        assert (await client.get(f"/v1/customers/{other}/points", headers=headers)).status_code == 404


async def test_a_missing_scope_is_403_and_names_the_scope(client: httpx.AsyncClient, as_key: AsKey):
    answer = await client.get("/v1/customers/a/points", headers=as_key("marketing"))
    assert (answer.status_code, answer.json()["code"]) == (403, "missing_scope")
    assert answer.headers["www-authenticate"] == 'Bearer realm="wafa", error="insufficient_scope", scope="read"'


@pytest.mark.parametrize(
    "scope, read, support",
    [("read", 200, 403), ("support", 403, 200), ("admin", 200, 200), ("redeem", 403, 403), ("marketing", 403, 403)],
)
async def test_support_does_not_imply_read_and_admin_implies_all(
    client: httpx.AsyncClient, as_key: AsKey, scope: str, read: int, support: int
):
    headers = as_key(scope)
    assert (await client.get("/v1/customers/a/points", headers=headers)).status_code == read
    assert (await client.post("/v1/customers/a/adjustments", headers=headers)).status_code == support


async def test_any_one_of_the_scopes_is_enough(client: httpx.AsyncClient, as_key: AsKey, as_customer: AsCustomer):
    assert (await client.post("/v1/quotes", headers=as_key("read"))).status_code == 200
    assert (await client.post("/v1/quotes", headers=as_customer("layla"))).status_code == 200
    assert (await client.post("/v1/quotes", headers=as_key("support"))).status_code == 403
    assert (await client.post("/v1/orders", headers=as_customer("layla"))).status_code == 403


async def test_a_customer_cannot_do_what_staff_does_to_customers(
    client: httpx.AsyncClient, as_key: AsKey, as_customer: AsCustomer
):
    path = "/v1/customers/layla/corrections"
    assert (await client.post(path, headers=as_key("support"))).status_code == 200
    assert (await client.post(path, headers=as_key("read"))).status_code == 403
    assert (await client.post(path, headers=as_customer("layla"))).status_code == 403
    assert (await client.post(path, headers=as_customer("omar"))).status_code == 404


async def test_the_scheme_is_case_insensitive(client: httpx.AsyncClient, as_key: AsKey):
    key = as_key("read")["Authorization"].removeprefix("Bearer ")
    for scheme in ("bearer", "BEARER"):
        headers = {"Authorization": f"{scheme} {key}"}
        assert (await client.get("/v1/customers/a/points", headers=headers)).status_code == 200


def test_admin_does_not_imply_customer():
    admin = Principal(Kind.KEY, "a", frozenset({Scope.ADMIN}))
    assert not admin.may(Scope.CUSTOMER)
    assert all(admin.may(scope) for scope in Scope if scope is not Scope.CUSTOMER)
    assert not admin.is_customer("a")
