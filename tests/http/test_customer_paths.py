from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from shared.contracts.values import Id
from tests.http.conftest import AsCustomer, AsKey, Headers

IDS = st.text(
    st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="/"), min_size=1, max_size=128
).filter(lambda text: text not in {".", ".."})


def path(customer_id: str) -> str:
    return f"/v1/customers/{quote(customer_id, safe='')}/points"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(customer_id=IDS)
@example(customer_id="100%")
@example(customer_id="%41")
@example(customer_id="a b?c#d")
@example(customer_id="عميل ١")
@example(customer_id="\ufffd")
@example(customer_id="...")
@example(customer_id="a;b=c&d+e")
@example(customer_id="😀" * 128)
async def test_any_id_of_the_contract_works_percent_encoded(
    client: httpx.AsyncClient, as_customer: AsCustomer, customer_id: str
):
    answer = await client.get(path(customer_id), headers=as_customer(customer_id))
    assert answer.status_code == 200
    assert answer.json() == {"customer_id": customer_id, "principal": f"customer:{customer_id}"}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sent=st.binary(min_size=1, max_size=40))
@example(sent=b"\x00")
@example(sent=b"a\x00b")
@example(sent=b"\xff")
@example(sent=b"\xed\xa0\x80")
@example(sent=b"a/b")
@example(sent=b"x/points")
@example(sent=b"\n")
@example(sent=b"a\n")
@example(sent=b"a" * 129)
async def test_no_bytes_in_place_of_an_id_cause_an_error(client: httpx.AsyncClient, sent: bytes, keys: Headers):
    answer = await client.get(f"/v1/customers/{quote(sent, safe='')}/points", headers=keys)
    try:
        accepted = TypeAdapter(Id).validate_python(sent.decode())
    except (UnicodeDecodeError, ValidationError):
        accepted = None
    if accepted is None:
        assert answer.status_code in {404, 422}
        assert answer.headers["content-type"] == "application/problem+json"
    else:
        assert answer.json()["customer_id"] == accepted


@pytest.fixture
def keys(as_key: AsKey):
    return as_key("read")


async def test_an_escaped_slash_leads_to_no_other_route(client: httpx.AsyncClient, keys: Headers):
    assert (await client.get("/v1/customers/a%2Fpoints", headers=keys)).status_code == 404
    assert (await client.get("/v1%2fcustomers/a/points", headers=keys)).status_code == 404


async def test_a_malformed_id_is_reported_only_to_authorized_callers(client: httpx.AsyncClient, keys: Headers):
    long = "x" * 129
    assert (await client.get(path(long))).status_code == 401
    answer = await client.get(path(long), headers=keys)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/path/id")
