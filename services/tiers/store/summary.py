"""Counts of all customers and of all changes."""

from datetime import datetime
from typing import NamedTuple

from shared.postgres.pool import Pool


class Counts(NamedTuple):
    """Numbers of customers by tier id, and of changes by kind; a customer whose tier is None was never judged."""

    customers: dict[str | None, int]
    changes: dict[str, int]


# Index-only scans; the planner scans the customers in parallel where there are many.
COUNT_SQL = """
SELECT 'tier' AS of, tier AS name, count(*) AS number FROM customer GROUP BY tier
UNION ALL
SELECT 'change', kind, count(*) FROM tier_change WHERE recorded_at >= $1 GROUP BY kind
"""


async def count(pool: Pool, since: datetime) -> Counts:
    """The customers of each tier, and the changes of each kind that were recorded from an instant on."""
    counts = Counts({}, {})
    for what, name, number in await pool.fetch(COUNT_SQL, since):
        if what == "tier":
            counts.customers[name] = number
        else:
            counts.changes[name] = number
    return counts
