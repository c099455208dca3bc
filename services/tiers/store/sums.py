"""The customers of a slice, and the sums of what counts for all of them over one period."""

from collections.abc import Sequence
from datetime import datetime
from fractions import Fraction
from typing import Any, NamedTuple, cast

from services.tiers.rules.counting import METRICS, Kind
from services.tiers.rules.metrics import Amount, Metric, Request, Sums
from shared.postgres.ids import joined
from shared.postgres.pool import Connection
from shared.postgres.slices import Slice


class Known(NamedTuple):
    """A customer of whom something is known, without a lock; `state` is as `encode_state` made it."""

    customer_id: str
    rejudge_from: datetime | None
    state: str | None


KNOWN_UNTIL_SQL = """
SELECT customer_id, rejudge_from, state::text AS state
FROM customer
WHERE customer_id > $1 AND customer_id <= $2 AND (state IS NOT NULL OR rejudge_from IS NOT NULL)
ORDER BY customer_id
"""

KNOWN_AFTER_SQL = """
SELECT customer_id, rejudge_from, state::text AS state
FROM customer
WHERE customer_id > $1 AND (state IS NOT NULL OR rejudge_from IS NOT NULL)
ORDER BY customer_id
"""


async def known_in(connection: Connection, part: Slice) -> list[Known]:
    """The customers of a slice of whom something is known, in the order of their ids."""
    if part.until_id is None:
        rows: Sequence[Any] = await connection.fetch(KNOWN_AFTER_SQL, part.after_id)
    else:
        rows = await connection.fetch(KNOWN_UNTIL_SQL, part.after_id, part.until_id)
    return [Known(*row) for row in rows]


# Amounts of money in ten-thousandths, and counts. As text, since decimals cost several times as much to read.
SUMS_SQL = """
SELECT place, kind, sums.name, amount::text, divisor::text, orders
FROM unnest(string_to_array($1, chr(31))) WITH ORDINALITY AS asked (customer_id, place)
CROSS JOIN LATERAL (
    SELECT 'purchase' AS kind, currency AS name, trim_scale(sum(total) * 10000) AS amount, 1::numeric AS divisor,
           count(*) AS orders
    FROM purchase
    WHERE customer_id || '' = asked.customer_id AND purchased_at >= coalesce($2::timestamptz, '-infinity')
      AND purchased_at < $3 AND total > 0
    GROUP BY currency
    UNION ALL
    SELECT kind, name, trim_scale(sum(amount)), 1, 0
    FROM counted
    WHERE customer_id || '' = asked.customer_id AND earned_at >= coalesce($2, '-infinity') AND earned_at < $3
      AND kind <> 'reversal'
    GROUP BY kind, name
    UNION ALL
    SELECT metric, name, trim_scale(sum(CASE metric WHEN 'spend' THEN amount * 10000 ELSE amount END)), divisor, 0
    FROM taken
    WHERE customer_id || '' = asked.customer_id AND earned_at >= coalesce($2, '-infinity') AND earned_at < $3
      AND at < $3
    GROUP BY metric, name, divisor
) AS sums
"""


async def load_sums(connection: Connection, customer_ids: Sequence[str], request: Request) -> list[Sums]:
    """For each customer the answer to the same request, which has no `before`, by one statement."""
    sums: list[dict[tuple[Metric, str], Amount]] = [{} for _ in customer_ids]
    for place, kind, name, amount, divisor, orders in await connection.fetch(
        SUMS_SQL, joined(customer_ids), request.since, request.known
    ):
        own = sums[place - 1]
        if orders:
            own["spend", name] = own.get(("spend", name), 0) + int(amount)
            own["orders", ""] = own.get(("orders", ""), 0) + orders
            continue
        key = METRICS.get(cast("Kind", kind), cast("Metric", kind)), name
        exact = int(amount) if divisor == "1" else _exact(amount, divisor)
        own[key] = own.get(key, 0) + exact
    return cast("list[Sums]", sums)


POINTS_SQL = """
SELECT place, points::text
FROM unnest(string_to_array($1, chr(31))) WITH ORDINALITY AS asked (customer_id, place)
CROSS JOIN LATERAL (
    SELECT trim_scale(sum(amount)) AS points
    FROM (
        SELECT amount FROM counted
        WHERE customer_id || '' = asked.customer_id AND earned_at >= coalesce($2::timestamptz, '-infinity')
          AND earned_at < $3 AND kind = 'points'
        UNION ALL
        SELECT amount FROM taken
        WHERE customer_id || '' = asked.customer_id AND earned_at >= coalesce($2, '-infinity') AND earned_at < $3
          AND at < $3 AND metric = 'points'
    ) AS moved
) AS net
WHERE points > 0
"""


async def load_points(connection: Connection, customer_ids: Sequence[str], request: Request) -> list[int]:
    """For each customer the qualifying points in the answer to the same request, which has no `before`."""
    points = [0] * len(customer_ids)
    for place, own in await connection.fetch(POINTS_SQL, joined(customer_ids), request.since, request.known):
        points[place - 1] = int(own)
    return points


def _exact(amount: str, divisor: str) -> Amount:
    """The quotient: an int where it is whole."""
    exact = Fraction(amount) / Fraction(divisor)
    return exact.numerator if exact.denominator == 1 else exact
