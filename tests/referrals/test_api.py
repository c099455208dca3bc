"""The routes, through ASGI on a real database."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey
from pydantic import HttpUrl, SecretStr

from deploy.keys import create_key
from services.referrals.api import build
from services.referrals.settings import Settings
from shared.postgres.pool import Pool
from tests.referrals.conftest import ADA, Apply
from tests.referrals.shop import bought, refunded, signed_up

SECRET = "a secret of thirty-two bytes or so"

Headers = Callable[[str], dict[str, str]]


@pytest.fixture
def configuration(tmp_path: Path) -> Settings:
    return Settings(
        api_keys_file=tmp_path / "keys.json",
        jwt_key=SecretStr(SECRET),
        public_url=HttpUrl("https://loyal.example.org/club"),
        shop_url=HttpUrl("https://shop.example.org/welcome?utm=wafa#top"),
    )


@pytest.fixture
async def client(configuration: Settings, pool: Pool) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=build(configuration, pool))
    async with httpx.AsyncClient(transport=transport, base_url="http://wafa.example") as opened:
        yield opened


@pytest.fixture
def reader(tmp_path: Path) -> dict[str, str]:
    return {"Authorization": f"Bearer {create_key(tmp_path / 'keys.json', ['read'], 'test')}"}


def customer(customer_id: str) -> dict[str, str]:
    claims = {"sub": customer_id, "scope": "customer", "exp": 4_000_000_000}
    token = jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(SECRET))
    return {"Authorization": f"Bearer {token}"}


async def test_an_idempotency_key_is_optional(client: httpx.AsyncClient, reader: dict[str, str]):
    headers = {**reader, "Idempotency-Key": "once"}
    first = await client.post("/v1/customers/zoe/referral-code", headers=headers)
    again = await client.post("/v1/customers/zoe/referral-code", headers=headers)
    assert again.json() == first.json()
    assert (first.headers.get("Idempotency-Replayed"), again.headers["Idempotency-Replayed"]) == (None, "true")
    assert (await client.post("/v1/customers/yan/referral-code", headers=headers)).status_code == 422


@pytest.mark.parametrize("method, path", [("POST", "referral-code"), ("GET", "referrals")])
async def test_a_customer_sees_only_itself(client: httpx.AsyncClient, tmp_path: Path, method: str, path: str):
    assert (await client.request(method, f"/v1/customers/ada/{path}")).status_code == 401
    assert (await client.request(method, f"/v1/customers/ada/{path}", headers=customer("ben"))).status_code == 404
    support = {"Authorization": f"Bearer {create_key(tmp_path / 'keys.json', ['support'], 'test')}"}
    assert (await client.request(method, f"/v1/customers/ada/{path}", headers=support)).status_code == 403


async def test_the_list_tells_states_and_rewards_and_nothing_of_friends(client: httpx.AsyncClient, apply: Apply):
    await apply([signed_up("friend-open", ADA), signed_up("ada", ADA), signed_up("friend-good", ADA)])
    await apply([bought("friend-good", "o1", 5), signed_up("friend-gone", ADA), bought("friend-gone", "o1", 6)])
    await apply([refunded("friend-gone", "o1", "r1", 9)])
    answer = await client.get("/v1/customers/ada/referrals", headers=customer("ada"))
    assert answer.status_code == 200
    assert "friend" not in answer.text.replace("friend_points", "")
    assert "o1" not in answer.text
    seen: list[dict[str, Any]] = answer.json()["data"]
    assert [(view["state"], view["reason"], view["advocate_points"], view["friend_points"]) for view in seen] == [
        ("voided", "refunded", 0, 0),
        ("approved", None, 500, 200),
        ("rejected", "not_eligible", 0, 0),
        ("expired", None, 0, 0),
    ]
    assert seen[0]["approved_at"] == "2026-03-01T18:00:00Z"
    assert seen[0]["closed_at"] == "2026-03-01T21:00:00Z"
    assert (await client.get("/v1/customers/ben/referrals", headers=customer("ben"))).json() == {
        "data": [],
        "next": None,
    }


async def test_the_list_comes_in_pages(client: httpx.AsyncClient, apply: Apply, reader: dict[str, str]):
    await apply([signed_up(f"f{number}", ADA) for number in range(5)])
    whole = (await client.get("/v1/customers/ada/referrals", headers=reader)).json()["data"]
    paged: list[dict[str, Any]] = []
    after: dict[str, str] = {}
    while True:
        answer = await client.get("/v1/customers/ada/referrals", params={"limit": 2, **after}, headers=reader)
        paged += answer.json()["data"]
        if answer.json()["next"] is None:
            break
        after = {"after": answer.json()["next"]}
    assert paged == whole
    assert len(whole) == 5
    bad = await client.get("/v1/customers/ada/referrals", params={"after": "?"}, headers=reader)
    assert (bad.status_code, bad.json()["code"]) == (400, "invalid_cursor")


@pytest.mark.parametrize("code", ["23456789", "nobody", "%F0%9F%8D%8B", "%0D%0ALocation:%20evil", "x" * 2000])
async def test_an_unknown_code_leads_to_the_shop_without_it(client: httpx.AsyncClient, pool: Pool, code: str):
    answer = await client.get(f"/r/{code}")
    assert answer.status_code == 302
    assert answer.headers["location"] == "https://shop.example.org/welcome?utm=wafa#top"
    assert await pool.fetchval("SELECT count(*) FROM referral_click") == 0


def test_the_document_tells_the_answers(configuration: Settings):
    document = build(configuration, None).openapi()  # type: ignore[arg-type] no route runs
    assert set(document["paths"]) == {
        "/v1/customers/{id}/referral-code",
        "/v1/customers/{id}/referrals",
        "/r/{code}",
        "/v1/referrals",
        "/v1/referrals/decisions",
        "/v1/referrals/summary",
        "/v1/referrals/{id}",
        "/v1/referrals/{id}/decision",
        "/v1/referral-programs",
        "/v1/referral-programs/{version}",
        "/v1/referral-programs/{version}/publish",
        "/v1/referral-programs/{version}/replays",
        "/v1/replays/{replay_id}",
    }
    post = document["paths"]["/v1/customers/{id}/referral-code"]["post"]
    assert post["responses"]["200"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/ReferralCode"
    }
    assert set(document["paths"]["/r/{code}"]["get"]["responses"]) == {"302", "4XX", "5XX"}
