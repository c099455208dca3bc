"""Every route of every service × every kind of caller: the status follows from the table in `access.py`.

Planted and caught here: a route without a dependency on who calls; a token without an expiry; `support` that reads.
"""

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi.routing import APIRoute
from joserfc import jwt
from joserfc.jwk import OctKey

from shared.http.bodies import BOUNDED
from tests.api.access import ACCESS, PUBLIC, SCOPES, Access, Customer
from tests.api.served import (
    EXPERIMENT,
    JOURNEY,
    ROUTES,
    SECRET,
    SERVICES,
    TEMPLATE,
    Route,
    Served,
    Service,
    as_customer,
    serve,
)
from tests.notifications.consent.world import BROWSER
from tests.referrals.programs import MINIMAL

NOBODY = "00000000-0000-0000-0000-000000000000"
CART = {"currency": "USD", "total": "1.00"}
RULE = {"id": "base", "name": {"en": "Base"}, "on": "purchase", "award": {"kind": "fixed", "points": 5}}
TIERS = {
    "currency": "USD",
    "time_zone": "UTC",
    "period": {"kind": "lifetime"},
    "tiers": [{"id": "member", "name": {"en": "Member"}}],
    "moves": {"silver": "member", "gold": "member"},
    "downgrade": {"to": "never"},
}
BODIES: dict[str, dict[str, Any]] = {
    "POST /v1/customers/{id}/adjustments": {"points": 5, "reason": "goodwill"},
    "POST /v1/customers/{id}/redemptions": {"points": 5, "reference": "r"},
    "POST /v1/customers/{id}/holds": {"points": 5, "reference": "r", "expires_in_seconds": 60},
    "POST /v1/points/quotes": CART,
    "POST /v1/rewards": {"id": "cup", "name": {"en": "Cup"}, "points": 5, "kind": "gift"},
    "PATCH /v1/rewards/{id}": {"points": 6},
    "POST /v1/earning-rules": {"currency": "USD", "rules": [RULE]},
    "PUT /v1/earning-rules/{version}": {"currency": "USD", "rules": [RULE]},
    "PUT /v1/customers/{id}/tier": {"tier": "gold", "note": "goodwill"},
    "POST /v1/customers/{id}/benefits/{benefit}/uses": {"reference": "r"},
    "POST /v1/tier-programs": TIERS,
    "PUT /v1/customers/{id}/preferences": {"topics": {"offers": {"email": False}}},
    "POST /v1/customers/{id}/push-subscriptions": BROWSER,
    "PUT /v1/tier-programs/{version}": TIERS,
    "POST /v1/referrals/{id}/decision": {"decision": "approve", "note": "A family."},
    "POST /v1/referrals/decisions": {"decision": "reject", "note": "A ring.", "ids": [NOBODY]},
    "POST /v1/referral-programs": MINIMAL,
    "PUT /v1/referral-programs/{version}": MINIMAL,
    "POST /v1/templates": TEMPLATE | {"id": "news"},
    "POST /v1/templates/{id}/versions": TEMPLATE,
    "PUT /v1/templates/{id}/versions/{version}": TEMPLATE,
    "POST /v1/templates/{id}/versions/{version}/preview": {"channel": "in_app", "locale": "en"},
    "POST /v1/templates/{id}/versions/{version}/test-send": {"to": "+447911123456", "channel": "sms", "locale": "en"},
    "POST /v1/journeys": JOURNEY | {"id": "anniversary"},
    "POST /v1/journeys/{id}/versions": JOURNEY,
    "PUT /v1/journeys/{id}/versions/{version}": JOURNEY,
    "POST /v1/experiments": EXPERIMENT | {"id": "another"},
    "POST /v1/experiments/sample-size": {"baseline": 0.2, "uplift": 0.27},
    "POST /v1/experiments/compare": {"arms": [{"exposed": 10, "converted": 2}, {"exposed": 10, "converted": 3}]},
    "POST /v1/webhook-endpoints": {"url": "https://shop.example.org/hooks"},
    "PATCH /v1/webhook-endpoints/{id}": {"enabled": True},
}
"""A valid body for each route that has one."""


def token(**claims: object) -> dict[str, str]:
    """A token with these claims, signed with the right key."""
    return {"Authorization": f"Bearer {jwt.encode({'alg': 'HS256'}, claims, OctKey.import_key(SECRET))}"}


def forged(**claims: object) -> dict[str, str]:
    other = OctKey.import_key("another secret of thirty-two bytes")
    return {"Authorization": f"Bearer {jwt.encode({'alg': 'HS256'}, claims, other)}"}


def nobodies() -> dict[str, dict[str, str]]:
    """Invalid credentials."""
    good = {"sub": "ann", "scope": "customer admin", "exp": int(time.time()) + 600}
    forever = {name: claim for name, claim in good.items() if name != "exp"}
    return {
        "no credentials": {},
        "garbage": {"Authorization": "Bearer garbage"},
        "another scheme": {"Authorization": "Basic d2FmYTp3YWZh"},
        "an unknown key": {"Authorization": "Bearer wafa_abc_" + "0" * 48},
        "an expired token": token(**good | {"exp": int(time.time()) - 1}),
        "a token without an expiry": token(**forever),
        "a token not valid yet": token(**good | {"nbf": int(time.time()) + 600}),
        "a token without a subject": token(scope="admin", exp=good["exp"]),
        "a forged token": forged(**good),
    }


async def ask(served: Served, route: Route, headers: dict[str, str]) -> httpx.Response:
    url = route.path.format(**served.parameters(route.path))
    if route.method == "put":
        current = await served.client.get(url, headers=served.admin)
        if "ETag" in current.headers:
            headers = headers | {"If-Match": current.headers["ETag"]}
    if route.path.endswith("/dead-letters/replay"):
        url += "?reason=bad_field"
    if route.path.endswith("/runs"):
        url += "?customer_id=ann"
    if str(route) == "GET /v1/customers":
        url += "?q=ann"
    headers = headers | {"Idempotency-Key": str(uuid4())}
    return await served.client.request(route.method, url, json=BODIES.get(str(route)), headers=headers)


def passes(answer: httpx.Response, route: Route) -> bool:
    """Whether the caller was authorized: the call was done, or refused because of what earlier calls changed."""
    # A dead letter that was refused again has a new id, and an endpoint is deleted by the first who may.
    is_gone = answer.status_code == 404 and ("/dead-letters/" in route.path or "/webhook-endpoints/" in route.path)
    return answer.is_success or answer.status_code == 409 or is_gone


def test_the_table_lists_exactly_the_routes():
    assert {str(route) for route in ROUTES} == {*ACCESS, *PUBLIC}


@pytest.fixture
async def served(service: Service, postgres_url: str, tmp_path: Path) -> AsyncIterator[Served]:
    """The API of a service for all tests of its routes: far faster than one for each."""
    async with serve(service, postgres_url, tmp_path) as served:
        yield served


OF_EACH_SERVICE = pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)


def protected(service: Service) -> list[Route]:
    return [route for route in ROUTES if route.service is service and str(route) not in PUBLIC]


@OF_EACH_SERVICE
async def test_without_valid_credentials_the_status_is_401(service: Service, served: Served):
    for route in protected(service):
        for name, headers in nobodies().items():
            answer = await ask(served, route, headers)
            about = f"{route}: {name}"
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated"), about
            assert answer.headers["WWW-Authenticate"].startswith("Bearer"), about
            assert answer.headers["Cache-Control"] == "no-store", about


@OF_EACH_SERVICE
async def test_a_key_may_do_what_its_scope_allows(service: Service, served: Served):
    for scope in SCOPES:
        key = served.key(scope)
        for route in protected(service):
            for headers in (key, token(sub="backend", scope=scope, exp=int(time.time()) + 600)):
                answer = await ask(served, route, headers)
                about = f"{route} by {scope}: {answer.text}"
                assert answer.headers["Cache-Control"] == "no-store", about
                if ACCESS[str(route)].lets_in(scope):
                    assert passes(answer, route), about
                else:
                    assert (answer.status_code, answer.json()["code"]) == (403, "missing_scope"), about
    for route in protected(service):
        without = await ask(served, route, token(sub="backend", scope="openid", exp=int(time.time()) + 600))
        assert without.status_code == 403, route


def expected(needed: Access, route: Route, *, own: bool) -> set[int]:
    """The status that a customer's token gets."""
    match needed.customer:
        case Customer.ANY:
            return {200}
        case Customer.OWN:
            is_about_somebody = "{" in route.path
            return {200, 201, 204, 409} if own or not is_about_somebody else {404}
        case Customer.NEVER:
            return {403} if own else {404}
        case Customer.REFUSED:
            return {403}


@OF_EACH_SERVICE
async def test_a_customer_may_use_its_own_routes(service: Service, served: Served):
    for route in protected(service):
        needed = ACCESS[str(route)]
        for customer, is_own in ((served.known["customers"], True), ("mallory", False)):
            answer = await ask(served, route, as_customer(customer))
            assert answer.status_code in expected(needed, route, own=is_own), f"{route} by {customer}: {answer.text}"


@OF_EACH_SERVICE
async def test_public_routes_need_no_credentials(service: Service, served: Served):
    for route in ROUTES:
        if route.service is service and str(route) in PUBLIC:
            assert (await ask(served, route, {})).status_code == PUBLIC[str(route)], route


@OF_EACH_SERVICE
def test_every_body_is_bounded(service: Service):
    app = service.build(service.settings(), None)
    for route in app.routes:
        if isinstance(route, APIRoute) and route.body_field is not None:
            assert BOUNDED in route.body_field.field_info.metadata, route.path
