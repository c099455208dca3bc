"""The history of referrals: every change of a state, as it was recorded."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from services.referrals.rules.referral import Step
from shared.postgres.pool import Connection, Pool


async def add(connection: Connection, steps: Sequence[Step], now: datetime) -> None:
    """Record steps, in their order."""
    if steps:
        await connection.copy_records_to_table(
            "referral_step",
            records=[_row(step, now) for step in steps],
            columns=("referral_id", "at", "recorded_at", "state", "reason", "actor", "note"),
        )


def _row(step: Step, now: datetime) -> tuple[object, ...]:
    referral = step.referral
    return referral.referral_id, step.at, now, referral.state, referral.reason, step.actor, step.note


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
