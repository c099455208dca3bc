"""What changed timelines judge differently: loading it up to a limit, and the progress of settling it."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from services.points.rules.books.state import Resettling, State
from services.points.rules.books.tiers import FOR_EVER, Span, TierEntry, changed, revised, standing_before, united
from services.points.store.accruals import accruals_by_row
from services.points.store.orders import orders_by_row
from shared.postgres.ids import joined
from shared.postgres.pool import Connection, Pool

MOST: Final = 1000
"""Number of orders, and of accruals, that one transaction settles again for all customers together."""

_LEAST: Final = 100
"""The least number of them for one customer."""


class Revision(NamedTuple):
    """The entries that an event puts into a timeline from an instant on."""

    start: datetime
    entries: Sequence[TierEntry]


class _Part(NamedTuple):
    """Selects what occurred for a customer within a span; with a multiplier, only what is judged differently."""

    customer_id: str
    after: datetime
    until: datetime
    tier: str | None = None
    multiplier: str | None = None


async def load(connection: Connection, state: State, revisions: Mapping[str, Sequence[Revision]]) -> None:
    """Load what new timelines judge differently, and what is still unsettled of earlier ones, in the order of time.

    If that is more than one transaction settles, `state.unloaded` has the instant from which it is not loaded.
    """
    parts = [part for customer, several in revisions.items() for part in _changed(customer, state.timelines, several)]
    for customer, left in state.resettling.items():
        parts += _unsettled(customer, state.timelines.get(customer, ()), left.since)
    if not parts:
        return
    limit = max(_LEAST, MOST // len({part.customer_id for part in parts}))
    columns = [list(column) for column in zip(*parts, strict=True)]
    orders = _first(await _orders(connection, columns, limit + 1), limit, state.unloaded)
    state.orders.update({key: order for key, order in orders_by_row(orders).items() if key not in state.orders})
    accruals = _first(await _accruals(connection, columns, limit + 1), limit, state.unloaded)
    loaded = accruals_by_row(accruals)
    state.accruals.update({key: accrual for key, accrual in loaded.items() if key not in state.accruals})


def _changed(customer: str, timelines: Mapping[str, Sequence[TierEntry]], revisions: Iterable[Revision]) -> list[_Part]:
    """The spans in which revisions, applied in order, change what the timeline judges."""
    spans: list[Span] = []
    timeline = timelines.get(customer, ())
    for revision in revisions:
        after = revised(timeline, revision.entries, revision.start)
        spans += changed(timeline, after)
        timeline = after
    return [_Part(customer, *span) for span in united(spans)]


def _unsettled(customer: str, timeline: Sequence[TierEntry], since: datetime) -> list[_Part]:
    """Selects what occurred from an instant on and was judged by another standing than the timeline's."""
    starts = [since - timedelta.resolution, *(entry.effective_at for entry in timeline if entry.effective_at >= since)]
    ends = [*starts[1:], FOR_EVER]
    return [
        _Part(customer, start, end, *standing_before(timeline, min(FOR_EVER, end)))
        for start, end in zip(starts, ends, strict=True)
    ]


def _first(rows: Sequence[Any], limit: int, unloaded: dict[str, datetime]) -> list[Any]:
    """The first rows of each customer by time; notes in `unloaded` when the first row beyond the limit occurred."""
    of_customer: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        of_customer[row["customer_id"]].append(row)
    first: list[Any] = []
    for customer, own in of_customer.items():
        own.sort(key=lambda row: row["occurred_at"])
        first += own[:limit]
        if len(own) > limit:
            rest: datetime = own[limit]["occurred_at"]
            unloaded[customer] = min(rest, unloaded.get(customer, rest))
    return first


ORDERS_SQL = """
SELECT affected.*
FROM unnest($1::text[], $2::timestamptz[], $3::timestamptz[], $4::text[], $5::text[])
     AS part (customer_id, after, until, tier, multiplier)
CROSS JOIN LATERAL (
    SELECT customer_id, order_id, source, occurred_at, ordinal, rules_version, body, given, tier, multiplier, found,
           delivered_at, refunded
    FROM purchase
    WHERE purchase.customer_id || '' = part.customer_id AND occurred_at > part.after AND occurred_at <= part.until
      AND (part.multiplier IS NULL
           OR (purchase.tier, purchase.multiplier) IS DISTINCT FROM (part.tier, part.multiplier))
    ORDER BY occurred_at
    LIMIT $6
) AS affected
"""


async def _orders(connection: Connection, parts: Sequence[Sequence[Any]], limit: int) -> Sequence[Any]:
    return await connection.fetch(ORDERS_SQL, *parts, limit)


ACCRUALS_SQL = """
SELECT affected.*
FROM unnest($1::text[], $2::timestamptz[], $3::timestamptz[], $4::text[], $5::text[])
     AS part (customer_id, after, until, tier, multiplier)
CROSS JOIN LATERAL (
    SELECT customer_id, origin, event, occurred_at, rules_version, facts, given, tier, found, withdrawn
    FROM accrual
    WHERE accrual.customer_id || '' = part.customer_id AND occurred_at > part.after AND occurred_at <= part.until
      AND event <> 'tier_promotion' AND NOT withdrawn
      AND (part.multiplier IS NULL OR accrual.tier IS DISTINCT FROM part.tier)
    ORDER BY occurred_at
    LIMIT $6
) AS affected
"""


async def _accruals(connection: Connection, parts: Sequence[Sequence[Any]], limit: int) -> Sequence[Any]:
    return await connection.fetch(ACCRUALS_SQL, *parts, limit)


LEFT_SQL = """
SELECT customer_id, since, occurred_at, correlation_id, causation_id
FROM resettling WHERE customer_id = ANY(string_to_array($1, chr(31)))
"""


async def left(connection: Connection, customers: Collection[str]) -> dict[str, Resettling]:
    """By customer with an unsettled timeline: how far it is settled."""
    rows = await connection.fetch(LEFT_SQL, joined(customers))
    return {row["customer_id"]: Resettling(*tuple(row)[1:]) for row in rows}


NEXT_SQL = """
SELECT customer_id FROM resettling ORDER BY customer_id LIMIT $1
"""


async def next_customers(connection: Connection, limit: int) -> list[str]:
    """Customers with an unsettled timeline."""
    return [row["customer_id"] for row in await connection.fetch(NEXT_SQL, limit)]


COUNT_SQL = """
SELECT count(*) FROM resettling
"""


async def count(pool: Pool) -> int:
    """Number of customers with an unsettled timeline."""
    customers: int = await pool.fetchval(COUNT_SQL)
    return customers


KEEP_SQL = """
INSERT INTO resettling (customer_id, since, occurred_at, correlation_id, causation_id)
SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::timestamptz[], $4::text[], $5::text[])
ON CONFLICT (customer_id) DO UPDATE
SET since = excluded.since, occurred_at = excluded.occurred_at, correlation_id = excluded.correlation_id,
    causation_id = excluded.causation_id
"""

DONE_SQL = """
DELETE FROM resettling WHERE customer_id = ANY($1::text[])
"""


async def save(connection: Connection, resettling: Mapping[str, Resettling | None]) -> None:
    """Store how far timelines are settled; None: completely."""
    rest = [(customer, *progress) for customer, progress in resettling.items() if progress is not None]
    if rest:
        await connection.execute(KEEP_SQL, *map(list, zip(*rest, strict=True)))
    if done := [customer for customer, progress in resettling.items() if progress is None]:
        await connection.execute(DONE_SQL, done)
