"""A database of the service with two customers who have a code."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey
from pydantic import SecretStr

from deploy.keys import create_key
from services.referrals.api import build
from services.referrals.handlers.events import handle
from services.referrals.settings import Settings
from services.referrals.store import codes
from shared.contracts.envelope import Event
from shared.contracts.outcomes import Refusal
from shared.postgres.pool import Pool
from tests.referrals.shop import START

Apply = Callable[..., Awaitable[list[Refusal]]]
Headers = dict[str, str]
Key = Callable[..., Headers]

SECRET = "a secret of thirty-two bytes or so"

ADA, BEN = "CDFGHJKM", "NPQRTVWX"


async def give_codes(pool: Pool) -> None:
    async with pool.acquire() as connection:
        await codes.add_code(connection, "ada", ADA, START)
        await codes.add_code(connection, "ben", BEN, START)


@pytest.fixture
async def pool(referrals_pool: Pool) -> Pool:
    await give_codes(referrals_pool)
    return referrals_pool


async def apply_to(pool: Pool, events: Sequence[Event], now: datetime = START) -> list[Refusal]:
    async with pool.acquire() as connection, connection.transaction():
        return await handle(connection, events, now)


@pytest.fixture
def apply(pool: Pool) -> Apply:
    """Handles each list of events in a transaction of its own; returns what was refused."""

    async def run(*batches: Sequence[Event]) -> list[Refusal]:
        return [refusal for batch in batches for refusal in await apply_to(pool, batch)]

    return run


OUTBOX_SQL = (
    "SELECT topic, convert_from(key, 'UTF8') AS key, convert_from(value, 'UTF8')::json AS value FROM outbox ORDER BY id"
)


async def published(pool: Pool) -> list[dict[str, Any]]:
    """The events in the outbox, in their order."""
    rows = await pool.fetch(OUTBOX_SQL)
    assert all(row["key"] == row["value"]["data"]["customer_id"] for row in rows)
    assert {row["topic"] for row in rows} <= {"loyalty.referrals"}
    return [row["value"] for row in rows]


async def verbs(pool: Pool) -> list[str]:
    """The verbs of the events in the outbox, in their order."""
    return [event["type"].removeprefix("loyalty.referral.").removesuffix(".v1") for event in await published(pool)]


@pytest.fixture
def key(tmp_path: Path) -> Key:
    """Headers of a new API key with these scopes."""

    def headers(*scopes: str) -> Headers:
        return {"Authorization": f"Bearer {create_key(tmp_path / 'keys.json', scopes, 'test')}"}

    return headers


@pytest.fixture
def marketing(key: Key) -> Headers:
    return key("marketing")


@pytest.fixture
async def client(pool: Pool, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """The API of referrals, over ASGI."""
    app = build(Settings(api_keys_file=tmp_path / "keys.json", jwt_key=SecretStr(SECRET)), pool)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://wafa.example") as opened:
        yield opened


def customer(customer_id: str) -> Headers:
    """Headers with a customer's own token."""
    claims = {"sub": customer_id, "scope": "customer", "exp": 4_000_000_000}
    token = jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(SECRET))
    return {"Authorization": f"Bearer {token}"}
