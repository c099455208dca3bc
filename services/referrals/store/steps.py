"""The history of referrals: every change of a state, as it was recorded."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from services.referrals.rules.referral import Step
from shared.messaging import erasure
from shared.messaging.erasure import Erasure
from shared.postgres.pool import Connection, Pool

ADD_SQL = """
INSERT INTO referral_step (referral_id, at, recorded_at, state, reason, actor, note)
SELECT referral_id, at, $1, state, reason, actor, note
FROM unnest($2::uuid[], $3::timestamptz[], $4::text[], $5::text[], $6::text[], $7::text[])
     AS new (referral_id, at, state, reason, actor, note)
"""


async def add(connection: Connection, steps: Sequence[Step], now: datetime) -> None:
    """Record steps, in their order."""
    if steps:
        await connection.execute(ADD_SQL, now, *zip(*map(_row, steps), strict=True))


def _row(step: Step) -> tuple[object, ...]:
    referral = step.referral
    return referral.referral_id, step.at, referral.state, referral.reason, step.actor, step.note


class Recorded(NamedTuple):
    """A step as it was recorded; `actor` is `system`, or the principal who decided."""

    at: datetime
    recorded_at: datetime
    state: str
    reason: str | None
    actor: str
    note: str | None


HISTORY_SQL = """
SELECT referral_id, at, recorded_at, state, reason, actor, note
FROM referral_step
WHERE referral_id = ANY($1::uuid[])
ORDER BY referral_id, number
"""


async def load(pool: Pool | Connection, ids: Sequence[UUID]) -> dict[UUID, list[Recorded]]:
    """The steps of referrals, in the order in which they were recorded."""
    steps: dict[UUID, list[Recorded]] = {id_: [] for id_ in ids}
    for row in await pool.fetch(HISTORY_SQL, list(ids)):
        steps[row["referral_id"]].append(Recorded(*row[1:]))
    return steps


ERASE_SQL = """
WITH covered AS (
    SELECT step.referral_id, step.number
    FROM unnest($1::text[], $2::timestamptz[]) AS erased (customer_id, at)
    CROSS JOIN LATERAL (
        SELECT referral_id FROM referral WHERE advocate_id = erased.customer_id
        UNION
        SELECT referral_id FROM referral WHERE friend_id = erased.customer_id
    ) AS own
    JOIN referral_step AS step USING (referral_id)
    WHERE note IS NOT NULL AND recorded_at <= erased.at
    LIMIT $3
)
UPDATE referral_step SET note = NULL
FROM covered
WHERE referral_step.referral_id = covered.referral_id AND referral_step.number = covered.number
RETURNING referral_step.number
"""


async def erase(connection: Connection, erasures: Sequence[Erasure], most: int) -> int:
    """Erase what people wrote about referrals of customers before their erasure; see `erasure.EraseOwn`."""
    customers, _, _, recorded_at = erasure.columns(erasures)
    return len(await connection.fetch(ERASE_SQL, customers, recorded_at, most))
