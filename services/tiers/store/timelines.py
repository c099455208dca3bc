"""Timelines, and the history of their changes."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from services.tiers.rules.customer import Folded, TimelineChange
from services.tiers.rules.program.compiled import Program
from services.tiers.rules.timeline import Entry, Timeline
from shared.postgres.pool import Connection, Pool

LOAD_SQL = """
SELECT customer_id, effective_at, tier
FROM timeline
WHERE customer_id = ANY($1::text[])
ORDER BY customer_id, effective_at
"""


async def load(connection: Connection, customer_ids: Sequence[str]) -> dict[str, Timeline]:
    """The complete timelines of customers, without those who have none."""
    entries: defaultdict[str, list[Entry]] = defaultdict(list)
    for row in await connection.fetch(LOAD_SQL, customer_ids):
        entries[row["customer_id"]].append(Entry(row["effective_at"], row["tier"]))
    return {customer_id: tuple(own) for customer_id, own in entries.items()}


CUT_SQL = """
DELETE FROM timeline
USING unnest($1::text[], $2::timestamptz[]) AS changed (customer_id, changed_at)
WHERE timeline.customer_id = changed.customer_id AND timeline.effective_at >= changed.changed_at
"""


async def save(connection: Connection, folded: Sequence[Folded]) -> None:
    """Replace each timeline from the instant on at which it changed."""
    changed = [
        (customer.standing.customer_id, customer.changed_at) for customer in folded if customer.changed_at is not None
    ]
    if not changed:
        return
    await connection.execute(CUT_SQL, *zip(*changed, strict=True))
    await connection.copy_records_to_table(
        "timeline",
        records=[
            (customer.standing.customer_id, entry.effective_at, entry.tier)
            for customer in folded
            for entry in customer.timeline
        ],
        columns=("customer_id", "effective_at", "tier"),
    )


async def record(
    connection: Connection, program: Program, changes: Sequence[tuple[TimelineChange, str]], now: datetime
) -> None:
    """Add changes, each with its reason, to the history, in this order."""
    if not changes:
        return
    rows = [
        (
            change.step.event.customer_id,
            change.kind,
            change.from_.id,
            change.to.id,
            reason,
            program.version,
            change.timeline[0].effective_at,
            now,
            change.step.event.source,
            change.step.event.id,
        )
        for change, reason in changes
    ]
    await connection.copy_records_to_table(
        "tier_change",
        records=rows,
        columns=(
            *("customer_id", "kind", "from_tier", "to_tier", "reason", "program_version"),
            *("effective_at", "recorded_at", "event_source", "event_id"),
        ),
    )


@dataclass(frozen=True, slots=True)
class Recorded:
    """A line of the history; `number` grows from line to line."""

    number: int
    kind: Literal["promoted", "demoted", "retained", "corrected"]
    from_tier: str
    to_tier: str
    reason: str
    program_version: int
    effective_at: datetime
    recorded_at: datetime


HISTORY_SQL = """
SELECT id AS number, kind, from_tier, to_tier, reason, program_version, effective_at, recorded_at
FROM tier_change
WHERE customer_id = $1 AND ($2::bigint IS NULL OR id < $2)
ORDER BY id DESC
LIMIT $3
"""


async def history(pool: Pool, customer_id: str, before: int | None, limit: int) -> list[Recorded]:
    """The changes of a customer, the newest first; only those with a number below `before` if that is given."""
    rows = await pool.fetch(HISTORY_SQL, customer_id, before, limit)
    return [Recorded(**row) for row in rows]
