"""To a customer, others do not exist: every route of every service, with another customer's token."""

from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.api.served import ROUTES, Route, Served, as_customer

OF_NOBODY = {"rewards", "earning-rules"}
"""What the program consists of belongs to no customer: who may see it is the same for all of them."""

BY_KEY = {"redemptions", "holds"}
"""What no customer may do, to itself or to another: it is refused without a look at whose it is."""


def of(route: Route) -> str:
    """What a route is about: the first segment of its path."""
    return route.path.split("/")[2]


OF_A_CUSTOMER = [
    route for route in ROUTES if route.path.startswith("/v1/") and "{" in route.path and of(route) not in OF_NOBODY
]

BODIES = {
    "/v1/customers/{id}/adjustments": {"points": 5, "reason": "goodwill"},
    "/v1/customers/{id}/redemptions": {"points": 5, "reference": "r"},
    "/v1/customers/{id}/holds": {"points": 5, "reference": "r", "expires_in_seconds": 60},
}


async def ask(served: Served, route: Route, headers: dict[str, str], **other: str) -> httpx.Response:
    headers = headers | {"Idempotency-Key": str(uuid4())}
    url = route.path.format(**served.parameters(route.path) | other)
    return await served.client.request(route.method, url, json=BODIES.get(route.path), headers=headers)


def told(response: httpx.Response) -> dict[str, Any]:
    return {**response.json(), "request_id": ""}


@pytest.mark.parametrize("route", OF_A_CUSTOMER, ids=str)
async def test_another_customer_is_answered_as_if_there_was_nothing(route: Route, served: Served):
    # There is something, to be seen by who may.
    assert (await ask(served, route, served.admin)).is_success
    hidden = await ask(served, route, as_customer("mallory"))
    assert hidden.status_code == (403 if of(route) in BY_KEY else 404)
    assert hidden.headers["content-type"] == "application/problem+json"
    unknown = dict.fromkeys(served.parameters(route.path), str(uuid4()))
    assert told(hidden) == told(await ask(served, route, as_customer("mallory"), **unknown))
    assert (await ask(served, route, {})).status_code == 401
