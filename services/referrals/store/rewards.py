"""What approvals paid: the accounts of advocates, and what was paid in periods."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Final

from services.referrals.rules.rewards import PROGRAM, Account, Change, Paid, Span, bucket
from shared.postgres.pool import Connection

_SHARDS: Final = 4
_PAYING: Final = 0x72656672, 0x70726F67
"""The lock of what the program pays in all: "refr", "prog"."""

LOAD_ACCOUNTS_SQL = """
SELECT customer_id, coalesce(approved, 0) AS approved, ARRAY(
    SELECT unnest(milestones) FROM referral
    WHERE advocate_id = asked.customer_id AND state = 'approved' AND milestones <> '{}'
) AS milestones
FROM unnest($1::text[]) AS asked (customer_id) LEFT JOIN advocate USING (customer_id)
"""


async def load_accounts(connection: Connection, customers: Collection[str]) -> dict[str, Account]:
    """The accounts of advocates, who are locked."""
    if not customers:
        return {}
    rows = await connection.fetch(LOAD_ACCOUNTS_SQL, list(customers))
    return {row["customer_id"]: Account(row["approved"], frozenset(row["milestones"])) for row in rows}


LOCK_PROGRAM_SQL = "SELECT pg_advisory_xact_lock($1, $2)"


async def lock_program(connection: Connection) -> None:
    """Let approvals of all others wait until the transaction ends. Customers are locked before, never after."""
    await connection.execute(LOCK_PROGRAM_SQL, *_PAYING)


PAID_TO_SQL = """
SELECT place, coalesce(sum(paid.rewards), 0)::bigint AS rewards, coalesce(sum(paid.points), 0)::bigint AS points
FROM unnest($1::text[], $2::timestamptz[], $3::timestamptz[], $4::boolean[])
    WITH ORDINALITY AS span (customer_id, start, ends, is_ever, place)
LEFT JOIN LATERAL (
    SELECT rewards, points FROM advocate WHERE is_ever AND advocate.customer_id = span.customer_id
    UNION ALL
    SELECT count(*), sum(advocate_points - milestone_points)
    FROM referral
    WHERE NOT is_ever AND advocate_id = span.customer_id AND approved_at >= start AND approved_at < ends
      AND advocate_points > milestone_points
) AS paid ON true
GROUP BY place
"""

PAID_BY_PROGRAM_SQL = """
SELECT place, coalesce(sum(rewards), 0)::bigint AS rewards, coalesce(sum(points), 0)::bigint AS points
FROM unnest($1::timestamptz[], $2::timestamptz[], $3::boolean[])
    WITH ORDINALITY AS span (start, ends, is_ever, place)
LEFT JOIN LATERAL (
    SELECT rewards, points FROM reward_bucket WHERE is_ever AND reward_bucket.start = '-infinity'
    UNION ALL
    SELECT rewards, points
    FROM reward_bucket
    WHERE NOT is_ever AND reward_bucket.start >= span.start AND reward_bucket.start < ends
) AS paid ON true
GROUP BY place
"""


async def load_paid(connection: Connection, spans: Collection[Span]) -> dict[Span, Paid]:
    """What was paid in periods of advocates, who are locked.

    Where one is of the program, approvals of all others wait until the transaction ends. That lock comes after those of
    customers, so that two transactions never wait for each other.
    """
    own = [span for span in spans if span.advocate_id != PROGRAM]
    shared = [span for span in spans if span.advocate_id == PROGRAM]
    paid: dict[Span, Paid] = {}
    if own:
        columns = [list(column) for column in zip(*own, strict=True)]
        rows = await connection.fetch(PAID_TO_SQL, *columns, [span.is_ever for span in own])
        paid |= {own[row["place"] - 1]: Paid(row["rewards"], row["points"]) for row in rows}
    if shared:
        await lock_program(connection)
        starts, ends = [bucket(span.start) for span in shared], [span.end for span in shared]
        rows = await connection.fetch(PAID_BY_PROGRAM_SQL, starts, ends, [span.is_ever for span in shared])
        paid |= {shared[row["place"] - 1]: Paid(row["rewards"], row["points"]) for row in rows}
    return paid


SAVE_ACCOUNTS_SQL = """
INSERT INTO advocate (customer_id, approved, rewards, points)
SELECT * FROM unnest($1::text[], $2::int[], $3::bigint[], $4::bigint[]) ORDER BY 1
ON CONFLICT (customer_id) DO UPDATE SET
    approved = advocate.approved + excluded.approved,
    rewards = advocate.rewards + excluded.rewards,
    points = advocate.points + excluded.points
"""

# Whoever sums what the program paid holds the lock alone: the sum has what was added before, and nothing is added
# meanwhile. The rows of a shard are written in their order.
SAVE_BUCKETS_SQL = """
WITH locked AS MATERIALIZED (SELECT pg_advisory_xact_lock_shared($1, $2))
INSERT INTO reward_bucket (start, shard, rewards, points)
SELECT start, pg_backend_pid() % $3, rewards, points
FROM locked, (
    SELECT start, rewards, points FROM unnest($4::timestamptz[], $5::bigint[], $6::bigint[])
        AS new (start, rewards, points)
    UNION ALL
    SELECT '-infinity', sum(rewards), sum(points) FROM unnest($5::bigint[], $6::bigint[]) AS new (rewards, points)
) AS added
ORDER BY start
ON CONFLICT (start, shard) DO UPDATE SET
    rewards = reward_bucket.rewards + excluded.rewards,
    points = reward_bucket.points + excluded.points
"""


async def save(connection: Connection, changes: Mapping[str, Change], buckets: Mapping[datetime, Paid]) -> None:
    """Add changes to the accounts of advocates, who are locked, and to what the program paid."""
    if changes:
        approved = [change.approved for change in changes.values()]
        rewards = [change.paid.rewards for change in changes.values()]
        points = [change.paid.points for change in changes.values()]
        await connection.execute(SAVE_ACCOUNTS_SQL, list(changes), approved, rewards, points)
    if buckets:
        rewards, points = [paid.rewards for paid in buckets.values()], [paid.points for paid in buckets.values()]
        await connection.execute(SAVE_BUCKETS_SQL, *_PAYING, _SHARDS, list(buckets), rewards, points)
