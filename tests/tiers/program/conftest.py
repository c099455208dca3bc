"""The API of tiers, over ASGI on a real database."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey
from pydantic import SecretStr

from deploy.keys import create_key
from services.tiers.api import build
from services.tiers.settings import Settings
from shared.postgres.pool import Pool

SECRET = "a secret of thirty-two bytes or so"

Headers = dict[str, str]
Key = Callable[..., Headers]


@pytest.fixture
def key(tmp_path: Path) -> Key:
    """Headers of a new API key with these scopes."""

    def headers(*scopes: str) -> Headers:
        return {"Authorization": f"Bearer {create_key(tmp_path / 'keys.json', scopes, 'test')}"}

    return headers


@pytest.fixture
def reader(key: Key) -> Headers:
    return key("read")


@pytest.fixture
def marketing(key: Key) -> Headers:
    return key("marketing")


@pytest.fixture
async def client(tiers_pool: Pool, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    app = build(Settings(api_keys_file=tmp_path / "keys.json", jwt_key=SecretStr(SECRET)), tiers_pool)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://wafa.example") as opened:
        yield opened


def customer(customer_id: str) -> Headers:
    claims = {"sub": customer_id, "scope": "customer", "exp": 4_000_000_000}
    token = jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(SECRET))
    return {"Authorization": f"Bearer {token}"}
