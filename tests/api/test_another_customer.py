"""To a customer, other customers do not exist: every route of every service with another customer's token."""

from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.api.served import ROUTES, Route, Served, as_customer
from tests.notifications.consent.world import BROWSER

OF_NOBODY = {
    *("rewards", "earning-rules", "tier-programs", "simulations"),
    *("referral-programs", "replays", "referrals", "journeys", "templates", "experiments", "webhook-endpoints"),
}
"""Resources of the program, which belong to no customer: every customer's access is the same."""

BY_KEY = {"redemptions", "holds"}
"""What no customer may do, not even for itself: refused without looking up the owner."""


def of(route: Route) -> str:
    """The resource of a route: the first segment of its path."""
    return route.path.split("/")[2]


OF_A_CUSTOMER = [
    route
    for route in ROUTES
    if route.path.startswith("/v1/")
    and "{" in route.path
    and of(route) not in OF_NOBODY
    and "/dead-letters/" not in route.path  # for operators
    and "/provider-events/" not in route.path  # for providers, who sign
    and str(route) != "GET /v1/messages/{id}"  # the log is for the shop: no customer may read it
]

BODIES = {
    "POST /v1/customers/{id}/adjustments": {"points": 5, "reason": "goodwill"},
    "POST /v1/customers/{id}/redemptions": {"points": 5, "reference": "r"},
    "POST /v1/customers/{id}/holds": {"points": 5, "reference": "r", "expires_in_seconds": 60},
    "PUT /v1/customers/{id}/tier": {"tier": "gold", "note": "goodwill"},
    "PUT /v1/customers/{id}/preferences": {"topics": {"offers": {"email": False}}},
    "POST /v1/customers/{id}/push-subscriptions": BROWSER,
    "POST /v1/customers/{id}/benefits/{benefit}/uses": {"reference": "r"},
}


async def ask(served: Served, route: Route, headers: dict[str, str], **other: str) -> httpx.Response:
    headers = headers | {"Idempotency-Key": str(uuid4())}
    url = route.path.format(**served.parameters(route.path) | other)
    return await served.client.request(route.method, url, json=BODIES.get(str(route)), headers=headers)


def content(response: httpx.Response) -> dict[str, Any]:
    return {**response.json(), "request_id": ""}


@pytest.mark.parametrize("route", OF_A_CUSTOMER, ids=str)
async def test_another_customer_gets_the_answer_for_what_does_not_exist(route: Route, served: Served):
    # The resource exists, and an admin sees it.
    assert (await ask(served, route, served.admin)).is_success
    hidden = await ask(served, route, as_customer("mallory"))
    assert hidden.status_code == (403 if of(route) in BY_KEY else 404)
    assert hidden.headers["content-type"] == "application/problem+json"
    unknown = dict.fromkeys(served.parameters(route.path), str(uuid4()))
    assert content(hidden) == content(await ask(served, route, as_customer("mallory"), **unknown))
    assert (await ask(served, route, {})).status_code == 401
