"""The sweep: activates and expires the lots of many customers by one statement."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from services.points.rules.ledger.receipts import digest_without_rules
from services.points.rules.program.earning import REASONS
from services.points.store.publications import Balance, PointsMoved, points_event
from shared.contracts.envelope import Cause, Publication
from shared.messaging import outbox
from shared.postgres.pool import Connection
from shared.turns import map_in_turns


class Swept(NamedTuple):
    """The points that were activated and that expired, and the customers that the statement did not touch."""

    activated: int
    expired: int
    left: Sequence[str]


# No CTE is joined with another: the planner does not know how many rows they have, and would read one of them for each
# row of the other. `matured` has a row for each lot and hold that has matured (or one without a kind), `made` one for
# each transaction.
SWEEP_SQL = """
WITH matured AS MATERIALIZED (
    SELECT account.customer_id, available, account.pending, account.held, debt, earned, redeemed, sequence,
           recorded_at, part.id, transaction_id, origin, remaining, part.expires_at, at, part.kind,
           bool_and(plain) OVER of_customer AS all_plain,
           least(later.due_at, min(part.expires_at) FILTER (WHERE part.kind = 'activated') OVER of_customer) AS next_at
    FROM unnest($1::text[]) AS due (customer_id) JOIN account USING (customer_id) CROSS JOIN LATERAL (
        SELECT least(
            (SELECT min(expires_at) FROM lot
             WHERE lot.customer_id = account.customer_id AND remaining > 0 AND NOT lot.pending AND expires_at > $2),
            (SELECT min(coalesce(activates_at, cancels_at)) FROM lot
             WHERE lot.customer_id = account.customer_id AND lot.pending AND (remaining > 0 OR activates_at IS NULL)
               AND coalesce(activates_at, cancels_at) > $2),
            (SELECT min(expires_at) FROM hold
             WHERE hold.customer_id = account.customer_id AND state = 'held' AND expires_at > $2)
        ) AS due_at
    ) AS later LEFT JOIN LATERAL (
        SELECT id, transaction_id, origin, remaining, expires_at, expires_at AS at, 'expired' AS kind, true AS plain
        FROM lot
        WHERE lot.customer_id = account.customer_id AND remaining > 0 AND NOT lot.pending AND expires_at <= $2
        UNION ALL
        -- Plain: what becomes available repays no debt and has not expired. What waits for a delivery is given up.
        SELECT id, transaction_id, origin, remaining, expires_at, activates_at, 'activated',
               activates_at IS NOT NULL AND debt = 0 AND (expires_at <= $2) IS NOT TRUE
        FROM lot
        WHERE lot.customer_id = account.customer_id AND lot.pending AND (remaining > 0 OR activates_at IS NULL)
          AND coalesce(activates_at, cancels_at) <= $2
        UNION ALL
        SELECT id, NULL, NULL, 0, NULL, expires_at, 'expired', false
        FROM hold WHERE hold.customer_id = account.customer_id AND state = 'held' AND expires_at <= $2
    ) AS part ON true
    WINDOW of_customer AS (PARTITION BY account.customer_id)
), together AS (
    SELECT customer_id, available, pending, held, debt, earned, redeemed, sequence, recorded_at, next_at, at, kind,
           CASE WHEN kind = 'activated' THEN origin END AS origin,
           coalesce(sum(remaining) FILTER (WHERE kind IS NOT NULL), 0)::bigint AS points,
           min(expires_at) FILTER (WHERE kind = 'activated') AS expires_at,
           array_agg(id ORDER BY matured.origin COLLATE "C", id) AS lots,
           array_agg(remaining ORDER BY matured.origin COLLATE "C", id) AS parts,
           array_agg(expires_at ORDER BY matured.origin COLLATE "C", id) FILTER (WHERE kind = 'activated') AS ends,
           (array_agg(transaction_id ORDER BY matured.origin COLLATE "C", id))[1] AS cause
    FROM matured
    WHERE all_plain IS NOT FALSE
    GROUP BY customer_id, at, kind, CASE WHEN kind = 'activated' THEN origin END,
             available, pending, held, debt, earned, redeemed, sequence, recorded_at, next_at
), made AS MATERIALIZED (
    SELECT uuidv7() AS id, customer_id, together.kind, points, at, expires_at, origin, lots, parts, ends, cause,
           next_at,
           CASE together.kind
               WHEN 'expired' THEN '{"kind":"expiry"}'
               WHEN 'activated' THEN concat(
                   '{"kind":', to_json(coalesce(word.kind, split_part(origin, '/', 1))),
                   ',' || to_json(word.field) || ':' || to_json(substr(origin, strpos(origin, '/') + 1)), '}')
           END AS reason,
           available + (sum(CASE together.kind WHEN 'activated' THEN points ELSE -points END) OVER up_to)::bigint
               AS available,
           pending - coalesce(sum(points) FILTER (WHERE together.kind = 'activated') OVER up_to, 0)::bigint AS pending,
           held, debt, earned, redeemed, sequence + count(together.kind) OVER up_to AS sequence,
           greatest(recorded_at, at) AS recorded_at
    FROM together LEFT JOIN unnest($3::text[], $4::text[], $5::text[]) AS word (about, kind, field)
                         ON about = split_part(origin, '/', 1)
    WINDOW up_to AS (PARTITION BY customer_id ORDER BY at NULLS FIRST, together.kind, origin COLLATE "C")
), lots AS (
    UPDATE lot
    SET pending = false,
        remaining = CASE kind WHEN 'activated' THEN lot.remaining ELSE 0 END,
        expired = expired + CASE kind WHEN 'activated' THEN 0 ELSE lot.remaining END
    FROM matured
    WHERE lot.id = matured.id AND all_plain AND kind IS NOT NULL
), transactions AS (
    INSERT INTO transaction (id, customer_id, sequence, kind, points, available_after, pending_after, held_after,
                             debt_after, earned_after, redeemed_after, occurred_at, recorded_at, reason, inputs,
                             receipt_digest, expires_at)
    SELECT id, customer_id, sequence, kind, CASE kind WHEN 'activated' THEN points ELSE -points END, available, pending,
           held, debt, earned, redeemed, at, recorded_at, reason::json, '{}', $6::bytea, expires_at
    FROM made WHERE kind IS NOT NULL
), postings AS (
    INSERT INTO posting (transaction_id, number, source, target, points, lot_id)
    SELECT made.id, number - 1, CASE kind WHEN 'activated' THEN 'pending' ELSE 'available' END,
           CASE kind WHEN 'activated' THEN 'available' ELSE 'expired' END, part.points, lot_id
    FROM made, unnest(lots, parts) WITH ORDINALITY AS part (lot_id, points, number)
    WHERE kind IS NOT NULL
), accounts AS (
    UPDATE account
    SET available = new.available, pending = new.pending, sequence = new.sequence, recorded_at = new.recorded_at,
        due_at = new.next_at
    FROM (SELECT DISTINCT ON (customer_id) * FROM made ORDER BY customer_id, sequence DESC) AS new
    WHERE account.customer_id = new.customer_id
), orders AS (
    INSERT INTO order_transaction (customer_id, order_id, sequence, transaction_id)
    SELECT customer_id, substr(origin, length('order/') + 1), sequence, id FROM made WHERE origin LIKE 'order/%'
), program AS (
    INSERT INTO program_account (kind, shard, balance)
    SELECT 'expired', pg_backend_pid() % 16, sum(points) FROM made WHERE kind = 'expired' HAVING count(*) > 0
    ON CONFLICT (kind, shard) DO UPDATE SET balance = program_account.balance + excluded.balance
)
SELECT customer_id, kind, at, cause::text, id::text AS transaction_id, points, reason, expires_at,
       CASE WHEN expires_at IS NOT NULL THEN (
           SELECT sum(part.points) FROM unnest(parts, ends) AS part (points, ends_at) WHERE ends_at = expires_at
       )::bigint END AS expiring_points,
       available, pending, held, debt
FROM made ORDER BY customer_id, sequence
"""


async def sweep(connection: Connection, customers: Sequence[str], now: datetime) -> Swept:
    """Activate and expire the matured lots of locked customers, with the same result as rules/books/maturity.py.

    An earlier statement has to lock the customers: this one reads what was committed before it began. It does not
    touch customers with a hold that expires, a delivery that did not come, points that repay debt, or points that
    expire when they are activated.
    """
    words = zip(*((about, *words) for about, words in REASONS.items()), strict=True)
    rows = await connection.fetch(SWEEP_SQL, customers, now, *map(list, words), digest_without_rules())
    events = [row for row in rows if row["kind"] is not None]
    await outbox.announce(connection, await map_in_turns(_event, events))
    points = Counter[str]()
    for row in events:
        points[row["kind"]] += row["points"]
    swept = {row["customer_id"] for row in rows}
    left = [customer for customer in customers if customer not in swept]
    return Swept(points["activated"], points["expired"], left)


def _event(row: Any) -> Publication:  # noqa: ANN401 asyncpg's Record has no types
    # By position: names would be looked up in every row.
    customer_id, kind, at, cause, transaction_id, points, reason, expires_at, expiring, *balance = row
    data = PointsMoved(
        customer_id=customer_id,
        transaction_id=transaction_id,
        points=points,
        reason=msgspec.Raw(reason),
        qualifying_points=0,
        expires_at=expires_at,
        expiring_points=expiring,
        balance=Balance(*balance),
    )
    return points_event(kind, at, Cause(cause, cause), data)
