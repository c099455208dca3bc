"""The routes, through ASGI on a real database."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import time_machine
from joserfc import jwt
from joserfc.jwk import OctKey
from pydantic import SecretStr

from deploy.keys import create_key
from services.tiers.api import build
from services.tiers.settings import Settings
from shared.contracts.values import format_instant
from shared.postgres.pool import Pool
from tests.tiers.applied import apply
from tests.tiers.shop import day, purchase, refund

SECRET = "a secret of thirty-two bytes or so"
TODAY = 10


@pytest.fixture(autouse=True)
def _clock() -> Iterator[None]:
    with time_machine.travel(day(TODAY), tick=True):
        yield


@pytest.fixture
async def client(tiers_pool: Pool, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client with a key that may read."""
    keys = tmp_path / "keys.json"
    headers = {"Authorization": f"Bearer {create_key(keys, ['read'], 'test')}"}
    app = build(Settings(api_keys_file=keys, jwt_key=SecretStr(SECRET)), tiers_pool)
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://wafa.example", headers=headers) as opened:
        yield opened


def customer(customer_id: str) -> dict[str, str]:
    claims = {"sub": customer_id, "scope": "customer", "exp": 4_000_000_000}
    token = jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(SECRET))
    return {"Authorization": f"Bearer {token}"}


def metrics(spend: str, orders: int) -> dict[str, Any]:
    return {"spend": spend, "orders": orders, "points": 0, "reviews": 0, "referrals": 0, "activities": 0}


async def get(client: httpx.AsyncClient, path: str) -> Any:
    response = await client.get(path)
    assert response.status_code == 200, response.text
    return response.json()


async def test_an_unknown_customer_is_in_the_first_tier(client: httpx.AsyncClient):
    way = {"metric": "spend", "value": "0.00", "needed": "500.00", "missing": "500.00"}
    assert await get(client, "/v1/customers/nobody/tier") == {
        "tier": "member",
        "name": "Member",
        "since": None,
        "points_multiplier": "1",
        "benefits": [],
        "metrics": metrics("0.00", 0),
        "next": {"tier": "silver", "ways": [[way]], "needs": [{"metric": "spend", "missing": "500.00"}]},
        "program_version": 1,
    }
    assert await get(client, "/v1/customers/nobody/tier/history") == {"data": [], "next": None}
    assert await get(client, "/v1/customers/nobody/benefits") == {"data": []}


async def test_a_customer_sees_what_is_missing(client: httpx.AsyncClient, tiers_pool: Pool):
    await apply(tiers_pool, purchase("1", "512.3456", day(1)), refund("1", "r", "0.00", day(2)), now=day(2))
    way = {"metric": "spend", "value": "512.3456", "needed": "1500.00", "missing": "987.6544"}
    assert await get(client, "/v1/customers/ann/tier") == {
        "tier": "silver",
        "name": "Silver",
        "since": format_instant(day(1)),
        "points_multiplier": "1.25",
        "benefits": [],
        "metrics": metrics("512.3456", 1),
        "next": {"tier": "gold", "ways": [[way]], "needs": [{"metric": "spend", "missing": "987.6544"}]},
        "program_version": 1,
    }


async def test_above_the_highest_tier_there_is_none(client: httpx.AsyncClient, tiers_pool: Pool):
    await apply(tiers_pool, purchase("1", "1500", day(1)))
    seen = await get(client, "/v1/customers/ann/tier")
    assert (seen["tier"], seen["metrics"]) == ("gold", metrics("1500.00", 1))
    assert "next" not in seen


async def test_spend_is_that_of_the_window_that_ends_today(client: httpx.AsyncClient, tiers_pool: Pool):
    await apply(
        tiers_pool,
        purchase("1", "100.00", day(TODAY - 365)),
        purchase("2", "20.00", day(TODAY - 364)),
        purchase("3", "3.00", day(0)),
    )
    assert (await get(client, "/v1/customers/ann/tier"))["metrics"] == metrics("23.00", 2)


async def test_what_is_dated_ahead_counts_from_its_instant_on(client: httpx.AsyncClient, tiers_pool: Pool):
    await apply(
        tiers_pool,
        purchase("1", "100.00", day(1)),
        refund("1", "r", "40.00", day(TODAY + 0.5)),
        purchase("2", "500.00", day(TODAY + 0.75)),
    )
    seen = await get(client, "/v1/customers/ann/tier")
    assert (seen["tier"], seen["since"], seen["metrics"]) == ("member", None, metrics("100.00", 1))
    with time_machine.travel(day(TODAY + 0.75), tick=False):
        seen = await get(client, "/v1/customers/ann/tier")
    assert (seen["tier"], seen["metrics"]) == ("silver", metrics("560.00", 2))


async def test_history_tells_every_change_newest_first(client: httpx.AsyncClient, tiers_pool: Pool):
    recorded = [datetime(2026, 3, 20, hour, tzinfo=UTC) for hour in range(3)]
    await apply(tiers_pool, purchase("1", "500.00", day(2)), now=recorded[0])
    await apply(tiers_pool, purchase("0", "1.00", day(1)), purchase("2", "1.00", day(1)), now=recorded[1])
    await apply(tiers_pool, refund("1", "r", "3.00", day(1)), now=recorded[2])
    seen = await get(client, "/v1/customers/ann/tier/history")
    assert seen == {
        "data": [
            {
                "kind": "demoted",
                "from": "silver",
                "to": "member",
                "reason": "refund",
                "effective_at": format_instant(day(2)),
                "recorded_at": format_instant(recorded[2]),
                "program_version": 1,
                "metrics": metrics("499.00", 3),
            },
            {
                "kind": "promoted",
                "from": "member",
                "to": "silver",
                "reason": "spend",
                "effective_at": format_instant(day(2)),
                "recorded_at": format_instant(recorded[0]),
                "program_version": 1,
                "metrics": metrics("500.00", 1),
            },
        ],
        "next": None,
    }


async def test_history_comes_in_pages(client: httpx.AsyncClient, tiers_pool: Pool):
    for number in range(5):
        # Each purchase is earlier than the one handled before it.
        await apply(tiers_pool, purchase(str(number), "500.00", day(9 - number)))
    first = await get(client, "/v1/customers/ann/tier/history?limit=2")
    rest = await get(client, f"/v1/customers/ann/tier/history?limit=200&after={first['next']}")
    effective = [change["effective_at"] for change in (*first["data"], *rest["data"])]
    assert len(first["data"]) == 2
    assert rest["next"] is None
    assert effective == sorted(effective)
    assert len(set(effective)) == len(effective) == 5
    assert (await client.get("/v1/customers/ann/tier/history?after=!")).status_code == 400


@pytest.mark.parametrize("path", ["tier", "tier/history"])
async def test_a_customer_sees_only_itself(client: httpx.AsyncClient, tiers_pool: Pool, path: str):
    await apply(tiers_pool, purchase("1", "600.00", day(1), customer_id="ان"))
    own = await client.get(f"/v1/customers/%D8%A7%D9%86/{path}", headers=customer("ان"))
    assert own.status_code == 200
    assert "silver" in own.text
    assert (await client.get(f"/v1/customers/%D8%A7%D9%86/{path}", headers=customer("ann"))).status_code == 404
    anonymous = await client.get(f"/v1/customers/ann/{path}", headers={"Authorization": ""})
    assert anonymous.status_code == 401


@pytest.mark.parametrize("path", ["tier", "tier/history"])
async def test_a_key_needs_the_scope_to_read(client: httpx.AsyncClient, tmp_path: Path, path: str):
    other = {"Authorization": f"Bearer {create_key(tmp_path / 'keys.json', ['redeem'], 'till')}"}
    assert (await client.get(f"/v1/customers/ann/{path}", headers=other)).status_code == 403


async def test_the_document_tells_what_can_be_null_or_absent(client: httpx.AsyncClient):
    schemas = (await get(client, "/openapi.json"))["components"]["schemas"]
    view = schemas["TierView"]
    assert {"type": "null"} in view["properties"]["since"]["anyOf"]
    always = {"tier", "name", "since", "points_multiplier", "benefits", "metrics", "program_version"}
    assert set(view["required"]) == always
    assert "from" in schemas["ChangeView"]["required"]


async def test_a_refund_of_today_counts_today(client: httpx.AsyncClient, tiers_pool: Pool):
    now = day(TODAY)
    await apply(tiers_pool, purchase("1", "10.00", now - timedelta(days=1)), refund("1", "r", "4.00", now))
    assert (await get(client, "/v1/customers/ann/tier"))["metrics"] == metrics("6.00", 1)
