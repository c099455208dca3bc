"""Rises of customers into tiers, and the awards that an event about tiers may give or take back."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from services.points.rules.books.rises import Rise, rises_from
from services.points.rules.books.state import Key
from services.points.rules.books.tiers import TierEntry
from shared.postgres.pool import Connection

BEFORE_SQL = """
SELECT customer_id, tier, last.rise
FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS wanted (customer_id, tier, start)
CROSS JOIN LATERAL (
    SELECT rise FROM tier_entry
    WHERE tier_entry.customer_id = wanted.customer_id AND tier_entry.tier = wanted.tier AND rise IS NOT NULL
      AND effective_at < wanted.start
    ORDER BY effective_at DESC LIMIT 1
) AS last
"""


async def before(
    connection: Connection, starts: Mapping[str, datetime], tiers: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, int]]:
    """Number of rises by customer and tier, before the instant (`starts`) from which an event replaces the timeline.

    `tiers` are those of all entries in the events, by customer.
    """
    rows = [(customer, tier, starts[customer]) for customer, names in tiers.items() for tier in set(names)]
    rises: dict[str, dict[str, int]] = {}
    for row in await connection.fetch(BEFORE_SQL, *map(list, zip(*rows, strict=True))) if rows else ():
        rises.setdefault(row["customer_id"], {})[row["tier"]] = row["rise"]
    return rises


def awards(
    starts: Mapping[str, datetime],
    tiers: Mapping[str, Sequence[str]],
    timelines: Mapping[str, Sequence[TierEntry]],
    rises: Mapping[str, Mapping[str, int]],
) -> Iterator[Key]:
    """The customer and the origin of every award that may be given or taken back.

    These are the awards of the rises in the timeline from the instant on, and as many for each tier in the events.
    """
    for customer, start in starts.items():
        had = rises_from(timelines.get(customer, ()), start)
        yield from ((customer, rise.origin) for rise in had)
        names = tiers.get(customer, ())
        for tier in set(names):
            first = rises.get(customer, {}).get(tier, 0)
            most = names.count(tier) + sum(rise.tier == tier for rise in had)
            yield from ((customer, Rise(tier, first + number).origin) for number in range(1, most + 1))
