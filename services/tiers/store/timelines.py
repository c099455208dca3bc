"""Timelines, and the history of their changes."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

from shared.contracts.envelope import Cause
from shared.postgres.pool import Connection, Pool

Kind = Literal["promoted", "demoted", "retained", "corrected"]


class TimelineEntry(NamedTuple):
    """An instant at which a customer's state changed, and the state from then on.

    `kind` is None where customers see no change. What comes after `points_multiplier` is None for an entry that an
    earlier release made and that was not judged again yet.
    """

    customer_id: str
    effective_at: datetime
    tier: str
    points_multiplier: str
    valid_until: datetime | None = None
    program_version: int | None = None
    kind: Kind | None = None
    reason: str | None = None
    from_tier: str | None = None
    state: Mapping[str, Any] | None = None


FROM_SQL = """
SELECT timeline.customer_id, effective_at, tier, points_multiplier, valid_until, program_version, kind, reason,
       from_tier, state
FROM unnest($1::text[], $2::timestamptz[]) AS wanted (customer_id, since)
JOIN timeline ON timeline.customer_id = wanted.customer_id AND effective_at >= coalesce(since, '-infinity')
ORDER BY timeline.customer_id, effective_at
"""


async def load_from(connection: Connection, since: Mapping[str, datetime | None]) -> dict[str, list[TimelineEntry]]:
    """The entries of customers from an instant on (None: all), in the order of time."""
    entries: dict[str, list[TimelineEntry]] = {customer_id: [] for customer_id in since}
    if since:
        for row in await connection.fetch(FROM_SQL, list(since), list(since.values())):
            entries[row["customer_id"]].append(TimelineEntry(*row))
    return entries


LAST_BEFORE_SQL = """
SELECT last.*
FROM unnest($1::text[], $2::timestamptz[]) AS wanted (customer_id, before)
CROSS JOIN LATERAL (
    SELECT customer_id, effective_at, tier, points_multiplier, valid_until, program_version, kind, reason, from_tier,
           state
    FROM timeline
    WHERE timeline.customer_id = wanted.customer_id AND effective_at < before
    ORDER BY effective_at DESC
    LIMIT 1
) AS last
"""


async def load_last_before(connection: Connection, before: Mapping[str, datetime]) -> dict[str, TimelineEntry]:
    """The last entry of each customer strictly before an instant, without customers who have none."""
    if not before:
        return {}
    rows: Sequence[Any] = await connection.fetch(LAST_BEFORE_SQL, list(before), list(before.values()))
    return {row["customer_id"]: TimelineEntry(*row) for row in rows}


CUT_SQL = """
DELETE FROM timeline
USING unnest($1::text[], $2::timestamptz[]) AS changed (customer_id, since)
WHERE timeline.customer_id = changed.customer_id AND timeline.effective_at >= changed.since
"""


async def replace(
    connection: Connection, since: Mapping[str, datetime], entries: Sequence[TimelineEntry], *, is_late: bool = True
) -> None:
    """Replace the timelines of customers from an instant on by new entries.

    Without `is_late`, nothing is there to be replaced.
    """
    if since and is_late:
        await connection.execute(CUT_SQL, list(since), list(since.values()))
    if entries:
        await connection.copy_records_to_table("timeline", records=entries, columns=TimelineEntry._fields)


class Change(NamedTuple):
    """A change of a customer's tier or of its past, as it is recorded.

    `metrics` are the values by which it was judged, as decimal strings. The event with the id `event_id` caused it;
    the event with the id `published_id` published it, with `correlation_id`, and with the steps of `timeline`: instant,
    tier and multiplier. `actor` and `note` are of what was done by hand.
    """

    customer_id: str
    kind: Kind
    from_tier: str
    to_tier: str
    reason: str
    program_version: int
    effective_at: datetime
    valid_until: datetime | None
    recorded_at: datetime
    metrics: Mapping[str, str]
    event_source: str
    event_id: str
    published_id: str
    correlation_id: str
    actor: str | None = None
    note: str | None = None
    timeline: Sequence[tuple[str, str, str]] = ()


async def record(connection: Connection, changes: Sequence[Change]) -> None:
    """Add changes to the history, in this order."""
    if changes:
        await connection.copy_records_to_table("tier_change", records=changes, columns=Change._fields)


CAUSES_SQL = """
SELECT last.*
FROM unnest($1::text[]) AS wanted (customer_id)
CROSS JOIN LATERAL (
    SELECT customer_id, coalesce(correlation_id, event_id) AS correlation_id,
           coalesce(published_id, event_id) AS causation_id
    FROM tier_change
    WHERE tier_change.customer_id = wanted.customer_id
    ORDER BY id DESC
    LIMIT 1
) AS last
"""


async def load_causes(connection: Connection, customer_ids: Iterable[str]) -> dict[str, Cause]:
    """The last published change of each customer as a cause: of the end of what it set."""
    rows: Sequence[Any] = await connection.fetch(CAUSES_SQL, list(customer_ids))
    return {row["customer_id"]: Cause(row["correlation_id"], row["causation_id"]) for row in rows}


class Recorded(NamedTuple):
    """A line of the history; `number` grows from line to line, and `metrics` is None in lines of earlier releases."""

    number: int
    kind: Kind
    from_tier: str
    to_tier: str
    reason: str
    program_version: int
    effective_at: datetime
    valid_until: datetime | None
    recorded_at: datetime
    metrics: Mapping[str, str] | None
    actor: str | None
    note: str | None


HISTORY_SQL = """
SELECT id AS number, kind, from_tier, to_tier, reason, program_version, effective_at, valid_until, recorded_at, metrics,
       actor, note
FROM tier_change
WHERE customer_id = $1 AND ($2::bigint IS NULL OR id < $2)
ORDER BY id DESC
LIMIT $3
"""


async def history(pool: Pool, customer_id: str, before: int | None, limit: int) -> list[Recorded]:
    """The changes of a customer, the newest first; only those with a number below `before` if that is given."""
    return [Recorded(*row) for row in await pool.fetch(HISTORY_SQL, customer_id, before, limit)]
