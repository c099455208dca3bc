"""Timelines: the tiers of customers over time."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Final, NamedTuple

from services.points.rules.books.state import Changes, State
from services.points.rules.books.tiers import Span, TierEntry
from shared.postgres.ids import joined
from shared.postgres.pool import Connection

_MOST: Final = 16
"""Number of entries up to which a timeline is loaded as a whole; nearly all are shorter."""

_MOST_UNLISTED: Final = 50
"""Number of tiers that are reported as not listed; a program has at most as many."""


class Last(NamedTuple):
    """The last entries of timelines, by customer, and the customers whose timeline is not settled completely."""

    entries: dict[str, list[TierEntry]]
    unsettled: list[str]


LAST_SQL = """
SELECT latest.* FROM unnest(string_to_array($1, chr(31))) AS wanted (customer_id) CROSS JOIN LATERAL (
    SELECT customer_id, effective_at, tier, multiplier, rise FROM tier_entry
    WHERE tier_entry.customer_id = wanted.customer_id
    ORDER BY effective_at DESC
    LIMIT $2
) AS latest
UNION ALL
SELECT customer_id, since, NULL, NULL, NULL FROM resettling WHERE customer_id = ANY(string_to_array($1, chr(31)))
"""


async def last(connection: Connection, customers: Collection[str]) -> Last:
    """The last entries of the timelines of customers: for most customers all entries."""
    entries: dict[str, list[TierEntry]] = defaultdict(list)
    unsettled: list[str] = []
    for customer, effective_at, tier, multiplier, rise in await connection.fetch(
        LAST_SQL, joined(customers), _MOST + 1
    ):
        if tier is None:
            unsettled.append(customer)
        else:
            entries[customer].append(TierEntry(effective_at, tier, multiplier, rise))
    return Last(entries, unsettled)


async def whole(connection: Connection, latest: Last, spans: Callable[[str], Span]) -> dict[str, tuple[TierEntry, ...]]:
    """The timelines in order of time; of a long one only the entries that apply within the customer's span."""
    entries = latest.entries
    if long := [customer for customer, several in entries.items() if len(several) > _MOST]:
        entries |= await _within(connection, {customer: spans(customer) for customer in long})
    return {customer: tuple(sorted(several)) for customer, several in entries.items()}


async def load(
    connection: Connection, customers: Collection[str], spans: Callable[[str], Span]
) -> dict[str, tuple[TierEntry, ...]]:
    """The timelines of customers, in order of time; of a long one only the entries that apply within its span."""
    return await whole(connection, await last(connection, customers), spans)


WITHIN_SQL = """
SELECT tier_entry.customer_id, effective_at, tier, multiplier, rise
FROM unnest($1::text[], $2::timestamptz[], $3::timestamptz[]) AS wanted (customer_id, after, until)
JOIN tier_entry ON tier_entry.customer_id = wanted.customer_id
    AND effective_at <= wanted.until
    AND effective_at >= coalesce(
        (SELECT max(effective_at) FROM tier_entry AS before
         WHERE before.customer_id = wanted.customer_id AND before.effective_at < wanted.after), wanted.after)
"""


async def _within(connection: Connection, spans: Mapping[str, Span]) -> dict[str, list[TierEntry]]:
    """The entries within spans of time, and the last entry before each span."""
    entries: dict[str, list[TierEntry]] = {customer: [] for customer in spans}
    columns = [list(spans), [span.after for span in spans.values()], [span.until for span in spans.values()]]
    for row in await connection.fetch(WITHIN_SQL, *columns):
        entries[row["customer_id"]].append(TierEntry(row["effective_at"], row["tier"], row["multiplier"], row["rise"]))
    return entries


UNLISTED_SQL = """
WITH RECURSIVE named AS (
    SELECT min(tier) AS tier FROM tier_entry
    UNION ALL
    SELECT (SELECT min(tier) FROM tier_entry WHERE tier > named.tier) FROM named WHERE named.tier IS NOT NULL
)
SELECT tier, customers
FROM named CROSS JOIN LATERAL (
    SELECT count(DISTINCT customer_id) AS customers
    FROM tier_entry AS own
    WHERE own.tier = named.tier AND NOT EXISTS (
        SELECT FROM tier_entry AS later
        WHERE later.customer_id = own.customer_id AND later.effective_at > own.effective_at
          AND later.effective_at <= $2)
) AS counted
WHERE tier <> ALL ($1::text[]) AND customers > 0
ORDER BY customers DESC, tier
LIMIT $3
"""


async def unlisted(connection: Connection, listed: Collection[str], now: datetime) -> dict[str, int]:
    """The number of customers by tier, of tiers that are not listed: who is in it now, or will be as published."""
    rows = await connection.fetch(UNLISTED_SQL, list(listed), now, _MOST_UNLISTED)
    return {row["tier"]: row["customers"] for row in rows}


FORGET_SQL = """
DELETE FROM tier_entry
USING unnest($1::text[], $2::timestamptz[]) AS revised (customer_id, start)
WHERE tier_entry.customer_id = revised.customer_id AND effective_at >= revised.start
"""


async def replace(connection: Connection, state: State, changes: Changes) -> None:
    """Replace timelines from the instants at which an event changed them."""
    starts = changes.timelines
    await connection.execute(FORGET_SQL, list(starts), list(starts.values()))
    rows = [
        (customer, *entry)
        for customer, start in starts.items()
        for entry in state.timelines[customer]
        if entry.effective_at >= start
    ]
    columns = ("customer_id", "effective_at", "tier", "multiplier", "rise")
    await connection.copy_records_to_table("tier_entry", records=rows, columns=columns)
