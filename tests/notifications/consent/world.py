"""A browser, and calls of the API as a customer."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jwt
from joserfc.jwk import OctKey

from deploy.keys import create_key
from services.notifications.api import build
from services.notifications.settings import Settings
from shared.postgres.pool import Pool

JWT_KEY: Final = "a secret of thirty-two bytes or so"
SECRET: Final = "a secret of thirty-two bytes or so"
PROVIDER: Final = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes ...").decode()


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


_POINT: Final = ec.generate_private_key(ec.SECP256R1()).public_key()
KEYS: Final = {
    "p256dh": _b64(_POINT.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)),
    "auth": _b64(b"sixteen bytes ok"),
}
BROWSER: Final[dict[str, Any]] = {"endpoint": "https://push.example.org/send/1", "expirationTime": None, "keys": KEYS}


def customer(customer_id: str) -> dict[str, str]:
    """Headers of a customer's own token."""
    claims = {"sub": customer_id, "scope": "customer", "exp": 4_000_000_000}
    return {"Authorization": f"Bearer {jwt.encode({'alg': 'HS256'}, claims, OctKey.import_key(JWT_KEY))}"}


@asynccontextmanager
async def serve(pool: Pool, folder: Path, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """The API of notifications; calls without other credentials come from a key with the scope `support`."""
    keys = folder / "keys.json"
    support = {"Authorization": f"Bearer {create_key(keys, ['support'], 'support')}"}
    usual: dict[str, Any] = {"secret": SECRET, "provider_secrets": {"local": PROVIDER}} | settings
    app = build(Settings(WAFA_API_KEYS_FILE=keys, WAFA_JWT_KEY=JWT_KEY, **usual), pool)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://wafa", headers=support) as client:
        yield client
