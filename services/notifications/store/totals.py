"""How many messages there are, by channel, state and reason, hour by hour."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from shared.postgres.checks import Query
from shared.postgres.pool import Pool

KEPT_FOR: Final = timedelta(days=62)
"""How long the totals of an hour are kept."""

_AT_ONCE: Final = 10_000


@dataclass(frozen=True, slots=True)
class Total:
    """The messages of a channel in a state, for a reason: of today, and of the whole period."""

    channel: str
    state: str
    reason: str
    today: int
    all: int


# Rows that another worker adds up are in neither table for it, but in one of them for everybody else.
ADD_UP_SQL = """
WITH taken AS (
    DELETE FROM message_change
    WHERE id IN (SELECT id FROM message_change ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED)
    RETURNING hour, channel, state, reason, count
), added AS (
    INSERT INTO message_total AS stored (hour, channel, state, reason, count)
    SELECT hour, channel, state, reason, sum(count)
    FROM taken
    GROUP BY hour, channel, state, reason
    ORDER BY hour, channel, state, reason
    ON CONFLICT (hour, channel, state, reason) DO UPDATE SET count = stored.count + excluded.count
)
SELECT count(*) AS count FROM taken
"""

FORGET_SQL = """
DELETE FROM message_total WHERE hour < $1
"""


async def add_up(pool: Pool, now: datetime) -> None:
    """Job: add the changes to the totals, and forget old ones."""
    while (await pool.fetch(ADD_UP_SQL, _AT_ONCE))[0]["count"] == _AT_ONCE:
        pass
    await pool.execute(FORGET_SQL, now - KEPT_FOR)


SUMMARY_SQL = """
SELECT channel, state, reason, coalesce(sum(count) FILTER (WHERE hour >= $2), 0)::bigint AS today,
       sum(count)::bigint AS all
FROM (
    SELECT hour, channel, state, reason, count FROM message_total WHERE hour >= $1
    UNION ALL
    SELECT hour, channel, state, reason, count FROM message_change WHERE hour >= $1
) AS totals
GROUP BY channel, state, reason
HAVING sum(count) > 0
ORDER BY channel, state, reason
"""


async def summary(pool: Pool, since: datetime, today: datetime) -> list[Total]:
    """The messages that were made since an instant, and since the begin of the day, both to the hour."""
    return [Total(**row) for row in await pool.fetch(SUMMARY_SQL, since, today)]


# The totals of a state that is not final are exact; erased messages stay in those that are.
DIFFERS_SQL = """
WITH counted AS (
    SELECT date_trunc('hour', created_at, 'UTC') AS hour, channel, state, coalesce(reason, '') AS reason,
           count(*) AS count
    FROM message
    WHERE created_at > now() - interval '60 days'
    GROUP BY 1, 2, 3, 4
), stored AS (
    SELECT hour, channel, state, reason, sum(count) AS count
    FROM (
        SELECT hour, channel, state, reason, count FROM message_total
        UNION ALL
        SELECT hour, channel, state, reason, count FROM message_change
    ) AS totals
    GROUP BY hour, channel, state, reason
)
SELECT concat_ws('/', hour, channel, state, reason) AS id
FROM counted FULL JOIN stored USING (hour, channel, state, reason)
WHERE coalesce(stored.count, 0) < coalesce(counted.count, 0)
   OR (state IN ('held', 'queued') AND hour > now() - interval '59 days'
       AND coalesce(stored.count, 0) <> coalesce(counted.count, 0))
LIMIT $1
"""

QUERY: Final = Query("totals of messages are right", DIFFERS_SQL)
"""A check of all rows."""
