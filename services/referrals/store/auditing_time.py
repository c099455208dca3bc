"""Checks of what happens in time: history, what falls due, how long evidence is kept, and erasures."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from services.referrals.rules.evidence.kinds import KEPT_FOR
from services.referrals.rules.explaining import Rewarded
from services.referrals.rules.program.compiled import Program
from shared.postgres.checks import Query
from shared.postgres.pool import Connection

_LATE: Final = timedelta(hours=1)
"""How long what has fallen due may wait for the job, which runs every minute."""

_FORGOTTEN: Final = timedelta(days=1)
"""How long evidence may outlast its time: the job that forgets it runs every hour."""

_MOST_APPROVALS: Final = 10_000
"""Of an advocate with more approvals and voids than this, the rewards are not replayed."""

_STEPS: Final = (
    ">signed_up",
    ">rejected",
    "signed_up>qualified",
    "signed_up>rejected",
    "signed_up>expired",
    "expired>qualified",
    "qualified>flagged",
    "qualified>approved",
    "qualified>rejected",
    # Before holds existed, refunds that came before their order voided a referral that was never approved.
    "qualified>voided",
    "flagged>qualified",
    "flagged>approved",
    "flagged>rejected",
    "rejected>qualified",
    "rejected>approved",
    "approved>voided",
)
_BY_PEOPLE: Final = ("flagged>qualified", "rejected>qualified", "rejected>approved")
"""Steps that only a person takes, besides rejections by decision."""

HISTORY_SQL = """
WITH told AS (
    SELECT referral_id, at, state, reason, actor, note, number,
           coalesce(lag(state) OVER (PARTITION BY referral_id ORDER BY number), '') || '>' || state AS step,
           lead(number) OVER (PARTITION BY referral_id ORDER BY number) IS NULL AS is_last
    FROM referral_step
)
SELECT referral_id::text AS id
FROM told
WHERE step <> ALL($2::text[])
   OR (step = ANY($3::text[]) OR coalesce(reason = 'decision', false)) AND actor = 'system'
   OR actor = 'system' AND note IS NOT NULL
UNION
SELECT referral_id::text
FROM referral LEFT JOIN told USING (referral_id)
WHERE coalesce(is_last, true) AND (
    (told.state, told.reason) IS DISTINCT FROM (referral.state, referral.reason)
    OR told.at <> CASE WHEN referral.state IN ('rejected', 'voided', 'expired') THEN closed_at
                       WHEN referral.state = 'approved' THEN approved_at
                       WHEN referral.state = 'flagged' THEN flagged_at
                       WHEN referral.state = 'signed_up' THEN signed_up_at
                       ELSE told.at END
)
LIMIT $1
"""

DUE_SQL = """
SELECT referral_id::text AS id
FROM referral
LEFT JOIN unnest($3::int[], $4::interval[]) AS program (version, within) ON program.version = program_version
WHERE next_at <= $2 AND recorded_at <= $2 AND NOT EXISTS (
          SELECT FROM referral_step
          WHERE referral_step.referral_id = referral.referral_id AND referral_step.recorded_at > $2
      )
   OR state = 'signed_up' AND next_at IS DISTINCT FROM signed_up_at + within + interval '1 microsecond'
   OR state = 'qualified' AND next_at IS DISTINCT FROM due_at
   OR state = 'flagged' AND NOT coalesce(next_at >= due_at, false)
LIMIT $1
"""

SCORES_SQL = """
SELECT referral_id::text AS id
FROM referral
WHERE score <> coalesce(
    (SELECT sum((signal ->> 'weight')::int) FROM json_array_elements(signals) AS signal), 0)
LIMIT $1
"""

BUCKETS_SQL = """
WITH paid AS (
    SELECT to_timestamp(floor(extract(epoch FROM approved_at) / 900) * 900) AS start,
           advocate_points - milestone_points + friend_points AS points
    FROM referral
    WHERE approved_at IS NOT NULL
), sums AS (
    SELECT start, count(*) AS rewards, sum(points) AS points FROM paid WHERE points > 0 GROUP BY start
    UNION ALL
    SELECT '-infinity', count(*), coalesce(sum(points), 0) FROM paid WHERE points > 0
)
SELECT start::text AS id
FROM sums
FULL JOIN (SELECT start, sum(rewards) AS rewards, sum(points) AS points FROM reward_bucket GROUP BY start) AS stored
     USING (start)
WHERE (coalesce(sums.rewards, 0), coalesce(sums.points, 0))
      <> (coalesce(stored.rewards, 0), coalesce(stored.points, 0))
LIMIT $1
"""

EVIDENCE_SQL = """
SELECT customer_id AS id FROM evidence WHERE until < $2
UNION
SELECT referral_id::text FROM sign_up_trace WHERE signed_up_at < $2
LIMIT $1
"""

ERASED_SQL = """
SELECT erasure.customer_id AS id
FROM erasure
WHERE look_at IS NULL AND (
    EXISTS (SELECT FROM evidence WHERE evidence.customer_id = erasure.customer_id AND until <= erased_at)
    OR EXISTS (
        SELECT FROM customer_registered AS own
        WHERE own.customer_id = erasure.customer_id AND registered_at <= erased_at
    )
    OR EXISTS (
        SELECT FROM sign_up_trace
        WHERE friend_id = erasure.customer_id AND ip IS NOT NULL AND signed_up_at <= erased_at
    )
    OR EXISTS (
        SELECT FROM referral_code AS own
        WHERE own.customer_id = erasure.customer_id AND created_at <= erasure.recorded_at
    )
    OR EXISTS (
        SELECT FROM referral JOIN referral_step AS step USING (referral_id)
        WHERE erasure.customer_id IN (advocate_id, friend_id) AND note IS NOT NULL
          AND step.recorded_at <= erasure.recorded_at
    )
)
LIMIT $1
"""


def queries(programs: Collection[Program], now: datetime) -> Sequence[Query]:
    """The checks; `programs` are the published versions."""
    windows = [program.version for program in programs], [program.within for program in programs]
    return (
        Query("history has legal steps, and ends with the state", HISTORY_SQL, (_STEPS, _BY_PEOPLE)),
        Query("what has fallen due is applied, and the next instant is right", DUE_SQL, (now - _LATE, *windows)),
        Query("scores = sums of the weights of signals", SCORES_SQL),
        Query("what the program paid = approved rewards", BUCKETS_SQL),
        Query("evidence is kept for 400 days", EVIDENCE_SQL, (now - KEPT_FOR - _FORGOTTEN,)),
        Query("nothing is left of erased customers", ERASED_SQL),
    )


SAMPLE_SQL = """
SELECT referral_id
FROM referral TABLESAMPLE SYSTEM (least(100, 100.0 * $1 / greatest(1, (SELECT count(*) FROM referral))))
LIMIT $1
"""


async def sample(connection: Connection, count: int) -> list[UUID]:
    """The ids of about `count` referrals; of all if there are fewer."""
    return [row["referral_id"] for row in await connection.fetch(SAMPLE_SQL, count)]


STANDING_SQL = """
SELECT friend_id, referral_id FROM referral WHERE friend_id = ANY($1::text[]) AND state NOT IN ('rejected', 'expired')
"""


async def standing(connection: Connection, friends: Collection[str]) -> dict[str, UUID]:
    """The referrals of friends that stand, by friend."""
    rows = await connection.fetch(STANDING_SQL, list(friends))
    return {row["friend_id"]: row["referral_id"] for row in rows}


PAID_SQL = """
SELECT advocate_id, referral_id, step.state = 'voided', step.at, program_version, advocate_points - milestone_points,
       friend_points, milestones, milestone_points
FROM referral JOIN referral_step AS step USING (referral_id)
WHERE advocate_id = ANY($1::text[]) AND approved_at IS NOT NULL AND step.state IN ('approved', 'voided') AND (
    SELECT count(*) FROM referral AS own WHERE own.advocate_id = referral.advocate_id AND own.approved_at IS NOT NULL
) <= $2
ORDER BY advocate_id, step.number
"""


async def paid_to(connection: Connection, advocates: Collection[str]) -> Mapping[str, Sequence[Rewarded]]:
    """The approvals and voids of advocates, in the order of recording, by advocate; of those with too many, none."""
    paid: dict[str, list[Rewarded]] = {}
    rows: Sequence[Any] = await connection.fetch(PAID_SQL, list(advocates), _MOST_APPROVALS)
    for advocate_id, *columns in rows:
        *rewarded, milestones, milestone_points = columns
        one = Rewarded._make([*rewarded, tuple(milestones), milestone_points])
        paid.setdefault(advocate_id, []).append(one)
    return paid
