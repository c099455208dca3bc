"""Asks the API of tiers, through ASGI, with a key or a customer's token."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
from joserfc import jwt
from joserfc.jwk import OctKey
from pydantic import SecretStr

from deploy.keys import create_key
from services.tiers.api import build
from services.tiers.settings import Settings
from shared.postgres.pool import Pool

SECRET: Final = "a secret of thirty-two bytes or so"


@asynccontextmanager
async def asking(pool: Pool, folder: Path, *scopes: str) -> AsyncGenerator[httpx.AsyncClient]:
    """A client with a key that has these scopes."""
    keys = folder / "keys.json"
    headers = {"Authorization": f"Bearer {create_key(keys, list(scopes), 'test')}"}
    app = build(Settings(api_keys_file=keys, jwt_key=SecretStr(SECRET)), pool)
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://wafa.example", headers=headers) as opened:
        yield opened


def customer(customer_id: str) -> dict[str, str]:
    """The header of a customer's own token."""
    claims = {"sub": customer_id, "scope": "customer", "exp": 4_000_000_000}
    token = jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(SECRET))
    return {"Authorization": f"Bearer {token}"}


async def get(client: httpx.AsyncClient, path: str, **headers: str) -> Any:
    """The JSON of an answer, which is 200."""
    response = await client.get(path, headers=headers)
    assert response.status_code == 200, response.text
    return response.json()
