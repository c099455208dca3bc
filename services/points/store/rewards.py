"""The catalogue of rewards, with their stock."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from services.points.rules.books.rewards import Reward
from shared.postgres.pool import Connection, Pool

FIND_SQL = """
SELECT id, name, points, kind, stock, limit_per_customer, minimum_tier, starts_at, ends_at, revision, created_at
FROM reward WHERE id = $1
"""


async def find(pool: Pool, reward_id: str) -> Reward | None:
    """A reward by its id."""
    row = await pool.fetchrow(FIND_SQL, reward_id)
    return None if row is None else Reward(*row)


LOCK_SQL = """
SELECT id, name, points, kind, stock, limit_per_customer, minimum_tier, starts_at, ends_at, revision, created_at
FROM reward WHERE id = $1 FOR UPDATE
"""


async def lock(connection: Connection, reward_id: str) -> Reward | None:
    """Lock a reward until the transaction ends."""
    row = await connection.fetchrow(LOCK_SQL, reward_id)
    return None if row is None else Reward(*row)


PAGE_SQL = """
SELECT id, name, points, kind, stock, limit_per_customer, minimum_tier, starts_at, ends_at, revision, created_at
FROM reward
WHERE $1::timestamptz IS NULL OR (created_at, id) < ($1, $2)
ORDER BY created_at DESC, id DESC
LIMIT $3
"""


async def page(pool: Pool, before: tuple[datetime, str] | None, limit: int) -> Sequence[Reward]:
    """Rewards, newest first."""
    moment, id_ = before or (None, "")
    return [Reward(*row) for row in await pool.fetch(PAGE_SQL, moment, id_, limit)]


INSERT_SQL = """
INSERT INTO reward (id, name, points, kind, stock, limit_per_customer, minimum_tier, starts_at, ends_at, revision,
                    created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (id) DO NOTHING
RETURNING id
"""


async def insert(connection: Connection, reward: Reward) -> bool:
    """Add a reward; False if its id is used."""
    return await connection.fetchval(INSERT_SQL, *reward) is not None


UPDATE_SQL = """
UPDATE reward
SET name = $2, points = $3, kind = $4, stock = $5, limit_per_customer = $6, minimum_tier = $7, starts_at = $8,
    ends_at = $9, revision = revision + 1
WHERE id = $1
RETURNING id, name, points, kind, stock, limit_per_customer, minimum_tier, starts_at, ends_at, revision, created_at
"""


async def update(connection: Connection, reward: Reward) -> Reward:
    """Replace a locked reward; its revision goes up by 1."""
    row: Any = await connection.fetchrow(UPDATE_SQL, *reward[:9])
    return Reward(*row)


MOVE_STOCK_SQL = """
UPDATE reward SET stock = stock + $2 WHERE id = $1 AND stock IS NOT NULL
"""


async def move_stock(connection: Connection, reward_id: str, count: int) -> None:
    """Add `count` (below 0: subtract) to a reward's stock; an unlimited reward has none."""
    await connection.execute(MOVE_STOCK_SQL, reward_id, count)
