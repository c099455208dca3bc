"""Deliveries of webhooks: made in the transaction of their event, claimed for the time of a lease."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from services.notifications.rules.webhook import Endpoint, State
from services.notifications.store.endpoints import to_endpoint
from shared.messaging import erasure
from shared.messaging.erasure import Erasure
from shared.postgres.pool import Connection, Pool

KEPT_FOR: Final = timedelta(days=30)
"""How long a delivery is kept after it was made."""

_AT_ONCE: Final = 1_000
_MOST_LOGGED: Final = 50


class New(NamedTuple):
    """A delivery to be made."""

    endpoint_id: UUID
    webhook_id: str
    customer_id: str
    type: str
    payload: str
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery to try; `attempts` and `tries` include this one."""

    id: UUID
    webhook_id: str
    payload: str
    attempts: int
    tries: int


class Settled(NamedTuple):
    """The outcome of an attempt, with its entry in the log; pending ones are due again."""

    id: UUID
    attempts: int
    state: State
    due_at: datetime | None
    entry: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery with the attempts that were made, without its payload."""

    id: UUID
    webhook_id: str
    customer_id: str
    type: str
    state: State
    created_at: datetime
    due_at: datetime | None
    log: Sequence[Mapping[str, Any]]


ADD_SQL = """
INSERT INTO webhook_delivery
    (id, endpoint_id, webhook_id, customer_id, type, payload, occurred_at, created_at, due_at)
SELECT uuidv7(), new.*, now(), now()
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[]) AS new
ON CONFLICT (endpoint_id, webhook_id) DO NOTHING
"""


async def add(connection: Connection, new: Sequence[New]) -> None:
    """Make deliveries, due now; one that exists stays as it is."""
    if new:
        await connection.execute(ADD_SQL, *map(list, zip(*new, strict=True)))


DUE_SQL = """
SELECT id FROM webhook_endpoint AS endpoint
WHERE enabled AND deleted_at IS NULL
  AND EXISTS (SELECT FROM webhook_delivery WHERE endpoint_id = endpoint.id AND due_at <= $1)
"""


async def due(pool: Pool, now: datetime) -> list[UUID]:
    """The enabled endpoints that have something due."""
    return [row["id"] for row in await pool.fetch(DUE_SQL, now)]


COUNT_DUE_SQL = """
SELECT count(*)
FROM webhook_endpoint JOIN webhook_delivery ON endpoint_id = webhook_endpoint.id
WHERE enabled AND deleted_at IS NULL
  AND (due_at <= now() OR (attempts > 0 AND tries <= 1 AND due_at <= now() + interval '1 minute'))
"""


async def count_due(pool: Pool) -> int:
    """Number of webhooks that are due now, including those that a worker is sending for the first time."""
    number: int = await pool.fetchval(COUNT_DUE_SQL)
    return number


CLAIM_SQL = """
WITH endpoint AS (
    SELECT * FROM webhook_endpoint WHERE id = $1 AND enabled AND deleted_at IS NULL
), due AS (
    SELECT delivery.id
    FROM endpoint JOIN webhook_delivery AS delivery ON delivery.endpoint_id = endpoint.id
    WHERE delivery.endpoint_id = $1 AND delivery.due_at <= $2
    ORDER BY delivery.due_at, delivery.id
    LIMIT $4
    FOR UPDATE OF delivery SKIP LOCKED
), claimed AS (
    UPDATE webhook_delivery AS delivery
    SET due_at = $3, attempts = attempts + 1, tries = tries + 1
    FROM due
    WHERE delivery.id = due.id
    RETURNING delivery.id, webhook_id, payload, attempts, tries
)
SELECT claimed.id AS delivery_id, claimed.webhook_id, claimed.payload, claimed.attempts, claimed.tries,
       endpoint.id, url, types, description, enabled, disabled_reason, generation, rotated_at, failing_since, failed_at,
       created_at
FROM claimed CROSS JOIN endpoint
ORDER BY claimed.id
"""


async def claim(
    pool: Pool, endpoint_id: UUID, now: datetime, lease: timedelta, most: int
) -> tuple[Endpoint, list[Claimed]] | None:
    """Claim due deliveries of an enabled endpoint, oldest first; None if there are none.

    No other worker claims them before the lease ends.
    """
    rows: Sequence[Any] = await pool.fetch(CLAIM_SQL, endpoint_id, now, now + lease, most)
    if not rows:
        return None
    return to_endpoint(rows[0]), [
        Claimed(row["delivery_id"], row["webhook_id"], row["payload"], row["attempts"], row["tries"]) for row in rows
    ]


SETTLE_SQL = """
UPDATE webhook_delivery AS delivery
SET state = new.state, due_at = new.due_at,
    log = CASE WHEN jsonb_array_length(log) >= $6 THEN log - 0 ELSE log END || new.entry
FROM unnest($1::uuid[], $2::int[], $3::text[], $4::timestamptz[], $5::jsonb[])
     AS new (id, attempts, state, due_at, entry)
WHERE delivery.id = new.id
  AND delivery.state = 'pending'
  AND (delivery.attempts = new.attempts OR new.state = 'delivered')
"""


async def settle(connection: Connection, outcomes: Sequence[Settled]) -> None:
    """Record outcomes.

    A delivery does not change if it was erased meanwhile, or if the lease ran out and another worker claimed it; in the
    latter case a success still counts.
    """
    columns = map(list, zip(*sorted(outcomes), strict=True))
    await connection.execute(SETTLE_SQL, *columns, _MOST_LOGGED)


PAGE_SQL = """
SELECT id, webhook_id, customer_id, type, state, created_at, due_at, log
FROM webhook_delivery
WHERE endpoint_id = $1 AND ($2::uuid IS NULL OR id < $2)
ORDER BY id DESC
LIMIT $3
"""


async def page(pool: Pool, endpoint_id: UUID, before: UUID | None, limit: int) -> list[Delivery]:
    """Deliveries to an endpoint, newest first: up to `limit` with ids below `before`."""
    return [_to_delivery(row) for row in await pool.fetch(PAGE_SQL, endpoint_id, before, limit)]


RESEND_SQL = """
UPDATE webhook_delivery SET state = 'pending', due_at = $3, tries = 0
WHERE id = $1 AND endpoint_id = $2
RETURNING id, webhook_id, customer_id, type, state, created_at, due_at, log
"""


async def resend(connection: Connection, delivery_id: UUID, endpoint_id: UUID, now: datetime) -> Delivery | None:
    """Make a delivery due now, with all attempts before it; None if the endpoint has no such delivery."""
    row = await connection.fetchrow(RESEND_SQL, delivery_id, endpoint_id, now)
    return None if row is None else _to_delivery(row)


ERASE_SQL = """
WITH covered AS (
    SELECT delivery.id
    FROM webhook_delivery AS delivery
    JOIN unnest($1::text[], $2::timestamptz[]) AS erased (customer_id, at) USING (customer_id)
    WHERE occurred_at <= erased.at
    LIMIT $3
    FOR UPDATE OF delivery SKIP LOCKED
)
DELETE FROM webhook_delivery AS delivery USING covered WHERE delivery.id = covered.id
RETURNING delivery.id
"""


async def erase(connection: Connection, erasures: Sequence[Erasure], most: int) -> int:
    """Remove deliveries about events of erased customers before the erasure; see `erasure.EraseOwn`."""
    customers, erased_at, _, _ = erasure.columns(erasures)
    return len(await connection.fetch(ERASE_SQL, customers, erased_at, most))


FORGET_SQL = """
DELETE FROM webhook_delivery
WHERE id IN (SELECT id FROM webhook_delivery WHERE id < $1 ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED)
RETURNING id
"""


async def forget(pool: Pool, now: datetime) -> None:
    """Delete deliveries at the end of their retention, a bounded number in each transaction."""
    oldest = UUID(int=int((now - KEPT_FOR).timestamp() * 1000) << 80)  # of the UUIDv7 of that millisecond
    while len(await pool.fetch(FORGET_SQL, oldest, _AT_ONCE)) == _AT_ONCE:
        pass


def _to_delivery(row: Mapping[str, Any]) -> Delivery:
    return Delivery(
        id=row["id"],
        webhook_id=row["webhook_id"],
        customer_id=row["customer_id"],
        type=row["type"],
        state=State(row["state"]),
        created_at=row["created_at"],
        due_at=row["due_at"],
        log=row["log"],
    )
