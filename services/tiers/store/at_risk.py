"""The moments at which tiers were judged to be at risk."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from shared.postgres.pool import Connection


class Warned(NamedTuple):
    """A moment, `days` before `valid_until`, that was judged; `told_at` is None where nothing was published."""

    customer_id: str
    valid_until: datetime
    days: int
    told_at: datetime | None


JUDGED_SQL = """
SELECT at_risk.customer_id, days
FROM unnest($1::text[], $2::timestamptz[]) AS wanted (customer_id, valid_until)
JOIN at_risk USING (customer_id, valid_until)
"""


async def load_judged(connection: Connection, ends: Mapping[str, datetime]) -> dict[str, set[int]]:
    """The days of the moments before an end that were judged, by customer."""
    judged: defaultdict[str, set[int]] = defaultdict(set)
    if ends:
        for row in await connection.fetch(JUDGED_SQL, list(ends), list(ends.values())):
            judged[row["customer_id"]].add(row["days"])
    return judged


async def add(connection: Connection, warned: Sequence[Warned]) -> None:
    """Record judged moments."""
    if warned:
        await connection.copy_records_to_table("at_risk", records=warned, columns=Warned._fields)
