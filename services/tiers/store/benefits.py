"""Uses of benefits."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from shared.postgres.pool import Connection


class Use(NamedTuple):
    """A use of a benefit; `reference` names it within customer and benefit, `uses_left` is None for any number."""

    customer_id: str
    benefit: str
    reference: str
    used_at: datetime
    uses_left: int | None
    tier: str
    program_version: int
    principal: str


COUNT_SQL = """
SELECT benefit, (
    SELECT count(*)
    FROM benefit_use
    WHERE benefit_use.customer_id = $1 AND benefit_use.benefit = asked.benefit
      AND used_at >= coalesce(since, '-infinity')
) AS used
FROM unnest($2::text[], $3::timestamptz[]) AS asked (benefit, since)
"""


async def count(connection: Connection, customer_id: str, since: Mapping[str, datetime | None]) -> dict[str, int]:
    """The number of a customer's uses of some benefits, of each from an instant on (None: ever)."""
    if not since:
        return {}
    rows = await connection.fetch(COUNT_SQL, customer_id, list(since), list(since.values()))
    return {row["benefit"]: row["used"] for row in rows}


FIND_SQL = """
SELECT customer_id, benefit, reference, used_at, uses_left, tier, program_version, principal
FROM benefit_use
WHERE customer_id = $1 AND benefit = $2 AND reference = $3
"""


async def find(connection: Connection, customer_id: str, benefit: str, reference: str) -> Use | None:
    """The use with a reference, if there is one."""
    row = await connection.fetchrow(FIND_SQL, customer_id, benefit, reference)
    return row and Use(*row)


async def add(connection: Connection, use: Use) -> None:
    """Record a use."""
    await connection.copy_records_to_table("benefit_use", records=[use], columns=Use._fields)
