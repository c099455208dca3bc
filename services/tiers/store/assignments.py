"""Tiers that were given by hand."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from shared.postgres.pool import Connection


class Assignment(NamedTuple):
    """A tier given by hand at an instant; `until` ends it, and nothing else moves a locked one before.

    `note` is None once the customer is erased.
    """

    id: UUID
    customer_id: str
    at: datetime
    tier: str
    until: datetime | None
    locked: bool
    actor: str
    note: str | None


async def add(connection: Connection, assignment: Assignment) -> None:
    """Record an assignment."""
    await connection.copy_records_to_table("assignment", records=[assignment], columns=Assignment._fields)


FROM_SQL = """
SELECT id, assignment.customer_id, at, tier, until, locked, actor, note
FROM unnest($1::text[], $2::timestamptz[]) AS wanted (customer_id, since)
JOIN assignment ON assignment.customer_id = wanted.customer_id AND at >= coalesce(since, '-infinity')
ORDER BY at, id
"""


async def load_from(connection: Connection, since: Mapping[str, datetime | None]) -> dict[str, list[Assignment]]:
    """The assignments of customers from an instant on (None: all), in the order of time."""
    assignments: dict[str, list[Assignment]] = {customer_id: [] for customer_id in since}
    if since:
        rows: Sequence[Any] = await connection.fetch(FROM_SQL, list(since), list(since.values()))
        for row in rows:
            assignments[row["customer_id"]].append(Assignment(*row))
    return assignments
