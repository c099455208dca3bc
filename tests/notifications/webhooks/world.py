"""Endpoints on this machine, and what they got."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import uuid_utils
from standardwebhooks.webhooks import Webhook

from services.notifications.channels.webhooks import Webhooks
from services.notifications.rules import webhook
from services.notifications.rules.webhook import Endpoint
from services.notifications.sending.webhooks import Dispatcher
from services.notifications.store import endpoints
from shared.http.guard import Guard, networks
from shared.postgres.pool import Pool
from tests.notifications.channels.web import FakeWeb, Request
from tests.notifications.world import NOW

MASTER = "a secret of thirty-two characters or more"
LOOPBACK = networks("127.0.0.0/8")
OPEN: list[Dispatcher] = []


def dispatcher(seconds: float = 5.0, allow: Sequence[Any] = LOOPBACK, channel: Any = None) -> Dispatcher:
    """A worker that sends; the fixture `closing` closes it."""
    made = Dispatcher(channel or Webhooks(Guard(allow).transport(), seconds), MASTER, random=lambda: 0.0)
    OPEN.append(made)
    return made


async def add(pool: Pool, url: str, *types: str, at: datetime = NOW) -> Endpoint:
    endpoint = Endpoint(
        id=UUID(int=uuid_utils.uuid7().int),
        url=url,
        types=types,
        description=None,
        enabled=True,
        disabled_reason=None,
        generation=1,
        rotated_at=(),
        failing_since=None,
        failed_at=None,
        created_at=at,
    )
    async with pool.acquire() as connection:
        await endpoints.add(connection, endpoint)
    return endpoint


async def send(pool: Pool, sender: Dispatcher) -> None:
    """Let a worker send what is due, to the end."""
    await sender.run(pool, NOW)
    await sender.idle()


def verified(request: Request, endpoint: Endpoint, generation: int = 1) -> dict[str, Any]:
    """The payload of a request, as the library of the standard verifies it."""
    secret = webhook.in_words(webhook.secret(MASTER, endpoint.id, generation))
    return Webhook(secret).verify(request.body, dict(request.headers))


def ids(fake: FakeWeb) -> list[str]:
    return [request.headers["webhook-id"] for request in fake.requests]


async def rows(pool: Pool) -> list[dict[str, Any]]:
    """All deliveries, oldest first."""
    return [dict(row) for row in await pool.fetch("SELECT * FROM webhook_delivery ORDER BY id")]


async def states(pool: Pool) -> list[tuple[str, int]]:
    """State and attempts of all deliveries, oldest first."""
    return [(row["state"], row["attempts"]) for row in await rows(pool)]


async def due_now(pool: Pool) -> None:
    """Let no pause and no lease last any longer."""
    await pool.execute("UPDATE webhook_delivery SET due_at = now() WHERE due_at IS NOT NULL")


async def endpoint_of(pool: Pool, endpoint: Endpoint) -> dict[str, Any]:
    row = await pool.fetchrow("SELECT * FROM webhook_endpoint WHERE id = $1", endpoint.id)
    assert row is not None
    return dict(row)
