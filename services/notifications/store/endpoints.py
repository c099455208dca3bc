"""Endpoints of webhooks."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from services.notifications.rules.webhook import Disabled, Endpoint, Health
from shared.postgres.pool import Connection, Pool

_AT_ONCE: Final = 1_000

LISTENING_SQL = """
SELECT id, types FROM webhook_endpoint WHERE enabled AND deleted_at IS NULL
"""


async def listening(connection: Connection) -> dict[UUID, tuple[str, ...]]:
    """The types that each enabled endpoint names."""
    return {row["id"]: tuple(row["types"]) for row in await connection.fetch(LISTENING_SQL)}


PAGE_SQL = """
SELECT id, url, types, description, enabled, disabled_reason, generation, rotated_at, failing_since, failed_at,
       created_at
FROM webhook_endpoint
WHERE deleted_at IS NULL AND ($1::uuid IS NULL OR id < $1)
ORDER BY id DESC
LIMIT $2
"""


async def page(pool: Pool, before: UUID | None, limit: int) -> list[Endpoint]:
    """Endpoints, newest first: up to `limit` with ids below `before`."""
    return [to_endpoint(row) for row in await pool.fetch(PAGE_SQL, before, limit)]


FIND_SQL = """
SELECT id, url, types, description, enabled, disabled_reason, generation, rotated_at, failing_since, failed_at,
       created_at
FROM webhook_endpoint
WHERE id = $1 AND deleted_at IS NULL
FOR UPDATE
"""


async def lock(connection: Connection, endpoint_id: UUID) -> Endpoint | None:
    """An endpoint, locked until the transaction ends; None if there is none."""
    row = await connection.fetchrow(FIND_SQL, endpoint_id)
    return None if row is None else to_endpoint(row)


EXISTS_SQL = """
SELECT EXISTS (SELECT FROM webhook_endpoint WHERE id = $1 AND deleted_at IS NULL)
"""


async def exists(pool: Pool, endpoint_id: UUID) -> bool:
    """Whether there is an endpoint."""
    is_there: bool = await pool.fetchval(EXISTS_SQL, endpoint_id)
    return is_there


COUNT_SQL = """
SELECT count(*) FROM webhook_endpoint WHERE deleted_at IS NULL
"""


async def count(connection: Connection) -> int:
    """The number of endpoints."""
    return (await connection.fetch(COUNT_SQL))[0]["count"]


ADD_SQL = """
INSERT INTO webhook_endpoint (id, url, types, description, enabled, generation, rotated_at, created_at)
VALUES ($1, $2, $3, $4, $5, 1, '{}', $6)
"""


async def add(connection: Connection, endpoint: Endpoint) -> None:
    """Store a new endpoint."""
    await connection.execute(
        ADD_SQL,
        endpoint.id,
        endpoint.url,
        endpoint.types,
        endpoint.description,
        endpoint.enabled,
        endpoint.created_at,
    )


SAVE_SQL = """
UPDATE webhook_endpoint
SET url = $2, types = $3, description = $4, enabled = $5, disabled_reason = $6, generation = $7, rotated_at = $8,
    failing_since = $9, failed_at = $10
WHERE id = $1
"""


async def save(connection: Connection, endpoint: Endpoint) -> None:
    """Store an endpoint that is locked."""
    await connection.execute(
        SAVE_SQL,
        endpoint.id,
        endpoint.url,
        endpoint.types,
        endpoint.description,
        endpoint.enabled,
        endpoint.disabled_reason,
        endpoint.generation,
        endpoint.rotated_at,
        endpoint.failing_since,
        endpoint.failed_at,
    )


HEALTH_SQL = """
UPDATE webhook_endpoint
SET failing_since = $2, failed_at = $3, enabled = enabled AND $4::text IS NULL,
    disabled_reason = CASE WHEN enabled THEN $4 ELSE disabled_reason END
WHERE id = $1
"""


async def note(connection: Connection, endpoint_id: UUID, health: Health) -> None:
    """Store the health of an endpoint, and disable it if that says so."""
    await connection.execute(HEALTH_SQL, endpoint_id, health.failing_since, health.failed_at, health.disable)


DELETE_SQL = """
UPDATE webhook_endpoint SET deleted_at = $2, enabled = false WHERE id = $1 AND deleted_at IS NULL RETURNING id
"""


async def delete(connection: Connection, endpoint_id: UUID, now: datetime) -> bool:
    """Delete an endpoint; returns whether there was one. Its deliveries go in time."""
    return await connection.fetchval(DELETE_SQL, endpoint_id, now) is not None


CLEAR_SQL = """
DELETE FROM webhook_delivery WHERE id IN (
    SELECT delivery.id
    FROM webhook_endpoint JOIN webhook_delivery AS delivery ON delivery.endpoint_id = webhook_endpoint.id
    WHERE deleted_at IS NOT NULL
    LIMIT $1
    FOR UPDATE OF delivery SKIP LOCKED
)
RETURNING id
"""

# A transaction that was handling events when the endpoint was deleted may still add a delivery.
DROP_SQL = """
DELETE FROM webhook_endpoint
WHERE deleted_at < $1::timestamptz - interval '1 hour'
  AND NOT EXISTS (SELECT FROM webhook_delivery WHERE endpoint_id = webhook_endpoint.id)
"""


async def clear(pool: Pool, now: datetime) -> None:
    """Delete what deleted endpoints leave, a bounded number of rows in each transaction."""
    while len(await pool.fetch(CLEAR_SQL, _AT_ONCE)) == _AT_ONCE:
        pass
    await pool.execute(DROP_SQL, now)


def to_endpoint(row: Mapping[str, Any]) -> Endpoint:
    """The endpoint in a row that has its columns."""
    disabled: str | None = row["disabled_reason"]
    return Endpoint(
        id=row["id"],
        url=row["url"],
        types=row["types"],
        description=row["description"],
        enabled=row["enabled"],
        disabled_reason=None if disabled is None else Disabled(disabled),
        generation=row["generation"],
        rotated_at=row["rotated_at"],
        failing_since=row["failing_since"],
        failed_at=row["failed_at"],
        created_at=row["created_at"],
    )
