"""Every route of every service against its OpenAPI document: every response to any request is documented."""

from copy import deepcopy
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from tests.api.served import ROUTES, Route, Served
from tests.support.depth import examples

CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
]


@pytest.fixture
def operation(served: Served, route: Route) -> APIOperation:
    document = deepcopy(served.document)
    # Each case has a valid key: invalid ones are tested elsewhere.
    document["paths"][route.path][route.method].pop("security", None)
    return schemathesis.openapi.from_dict(document)[route.path][route.method]


@pytest.mark.parametrize("route", ROUTES, ids=str)
@given(data=st.data())
@examples(
    12,
    deep=50,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much],
)
async def test_every_response_is_documented(route: Route, served: Served, operation: APIOperation, data: st.DataObject):
    good, bad = (operation.as_strategy(generation_mode=mode) for mode in GenerationMode)
    # No `partial`: Hypothesis writes it out for each case that it discards, with the whole document.
    case = data.draw(st.one_of(good, good.map(lambda case: _about(served, case)), bad))
    response = await served.client.send(_request(case, served.admin))
    case.validate_response(response, checks=CHECKS)


def _about(served: Served, case: Case) -> Case:
    """The case, with parameters of existing data."""
    case.path_parameters.update(served.parameters(case.path))
    return case


def _request(case: Case, headers: dict[str, str]) -> httpx.Request:
    """The case as the bytes that a client would send."""
    sent: dict[str, Any] = case.as_transport_kwargs(base_url="http://wafa.example", headers=headers)
    prepared = requests.Request(**sent).prepare()
    named = [(name, value.encode("latin-1")) for name, value in prepared.headers.items()]
    return httpx.Request(prepared.method, prepared.url, headers=named, content=prepared.body)
