"""Drafts of the tier program, and requests to replace and publish them."""

from typing import Any, Final

import httpx

from tests.points.asking import post
from tests.tiers.program.conftest import Headers

PROGRAMS: Final = "/v1/tier-programs"

UNSIMULATED: Final[dict[str, Any]] = {"without_simulation": True, "note": "It was simulated by hand."}


async def put(client: httpx.AsyncClient, headers: Headers, version: int, body: object, tag: str = "") -> httpx.Response:
    """Replace a draft; `tag` is the ETag that its editor saw."""
    headers = headers | ({"If-Match": tag} if tag else {})
    return await client.put(f"{PROGRAMS}/{version}", json=body, headers=headers)


async def publish(client: httpx.AsyncClient, headers: Headers, version: int, **fields: Any) -> httpx.Response:
    """Publish a draft without a simulation."""
    return await post(client, f"{PROGRAMS}/{version}/publish", headers, UNSIMULATED | fields)
