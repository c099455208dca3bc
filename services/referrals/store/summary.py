"""Counts of what happened to all referrals in some days."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from shared.postgres.pool import Connection


class Summary(NamedTuple):
    """Visits of referral links, sign-ups, steps by the state that they led to, and stopped referrals by signal."""

    clicks: int
    sign_ups: int
    steps: Mapping[str, int]
    stopped: Mapping[str, int]


CLICKS_SQL = "SELECT coalesce(sum(clicks), 0)::bigint FROM referral_click WHERE day > $1"

SIGN_UPS_SQL = "SELECT count(*) FROM referral WHERE recorded_at >= $1"

STEPS_SQL = "SELECT state, count(*) AS steps FROM referral_step WHERE recorded_at >= $1 GROUP BY state"

# A referral can be stopped more than once: flagged, then rejected.
STOPPED_SQL = """
SELECT signal ->> 'id' AS id, count(*) AS referrals
FROM (
    SELECT DISTINCT referral_id
    FROM referral_step
    WHERE recorded_at >= $1 AND (state = 'flagged' OR state = 'rejected' AND reason = 'fraud')
) AS stopped
JOIN referral USING (referral_id)
CROSS JOIN LATERAL json_array_elements(signals) AS signal
GROUP BY 1
ORDER BY 2 DESC, 1
"""


async def count(connection: Connection, since: datetime) -> Summary:
    """What was recorded from an instant on; visits are counted by day (UTC), from the next day on."""
    clicks = await connection.fetchval(CLICKS_SQL, since.date())
    sign_ups = await connection.fetchval(SIGN_UPS_SQL, since)
    steps = {row["state"]: row["steps"] for row in await connection.fetch(STEPS_SQL, since)}
    stopped = {row["id"]: row["referrals"] for row in await connection.fetch(STOPPED_SQL, since)}
    assert clicks is not None, "an aggregate has a row"
    assert sign_ups is not None, "an aggregate has a row"
    return Summary(clicks, sign_ups, steps, stopped)
