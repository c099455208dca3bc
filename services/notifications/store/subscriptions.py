"""Push subscriptions: the browsers of customers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from shared.postgres.pool import Connection

MOST: Final = 10
"""Maximum number of browsers of a customer: a further one replaces the one that was registered first."""


@dataclass(frozen=True, slots=True)
class Browser:
    """A subscription as the browser gave it; the keys are base64url."""

    id: UUID
    customer_id: str
    endpoint: str
    p256dh: str
    auth: str
    created_at: datetime


# An endpoint belongs to whoever registered it last: people share a browser, and log in one after the other.
REGISTER_SQL = """
INSERT INTO push_subscription (id, customer_id, endpoint, p256dh, auth, created_at)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (endpoint) DO UPDATE
SET id = CASE WHEN push_subscription.customer_id = excluded.customer_id
              THEN push_subscription.id ELSE excluded.id END,
    customer_id = excluded.customer_id, p256dh = excluded.p256dh, auth = excluded.auth,
    created_at = excluded.created_at
RETURNING id, customer_id, endpoint, p256dh, auth, created_at
"""


async def register(connection: Connection, browser: Browser) -> Browser:
    """Store a subscription of a locked customer; one with the same endpoint is replaced, and keeps its id."""
    row = await connection.fetchrow(
        REGISTER_SQL,
        browser.id,
        browser.customer_id,
        browser.endpoint,
        browser.p256dh,
        browser.auth,
        browser.created_at,
    )
    assert row is not None, "the statement returns its row"
    return Browser(**row)


TRIM_SQL = """
DELETE FROM push_subscription
WHERE id IN (
    SELECT id FROM push_subscription WHERE customer_id = $1 ORDER BY created_at DESC, id DESC OFFSET $2
)
"""


async def trim(connection: Connection, customer_id: str) -> None:
    """Delete the subscriptions beyond the newest `MOST` of a locked customer."""
    await connection.execute(TRIM_SQL, customer_id, MOST)


REMOVE_SQL = """
DELETE FROM push_subscription WHERE customer_id = $1 AND id = $2
"""


async def remove(connection: Connection, customer_id: str, subscription_id: UUID) -> None:
    """Delete a subscription of a customer, if there is one."""
    await connection.execute(REMOVE_SQL, customer_id, subscription_id)


GONE_SQL = """
DELETE FROM push_subscription WHERE id = ANY($1::uuid[])
"""


async def remove_gone(connection: Connection, ids: Sequence[UUID]) -> None:
    """Delete subscriptions that their push service ended."""
    if ids:
        await connection.execute(GONE_SQL, ids)


LOAD_SQL = """
SELECT id, customer_id, endpoint, p256dh, auth, created_at
FROM push_subscription
WHERE customer_id = ANY($1::text[])
ORDER BY customer_id, created_at, id
"""


async def load(connection: Connection, customer_ids: Sequence[str]) -> dict[str, list[Browser]]:
    """The subscriptions of customers, oldest first."""
    browsers: dict[str, list[Browser]] = {}
    for row in await connection.fetch(LOAD_SQL, customer_ids):
        browsers.setdefault(row["customer_id"], []).append(Browser(**row))
    return browsers
