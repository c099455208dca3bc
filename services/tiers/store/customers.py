"""Customers: one row each, which is locked while events of the customer are applied."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from shared.postgres.pool import Connection, Pool


class Customer(NamedTuple):
    """A customer's row.

    `state` is the state after everything that was judged, as JSON; None while nothing was. `judged_at` is its instant,
    and `tier` to `program_version` are parts of it. `due_at` is when something falls due next, at the latest at
    `warn_at`, when the tier may have to be judged to be at risk. `rejudge_from` is the
    earliest instant at which something is recorded that was not judged yet, and `rejudge_for` what arrived then.
    `carried` is False for a customer of whose orders an earlier release recorded the refunds and not what they took.
    """

    customer_id: str
    judged_at: datetime | None = None
    tier: str | None = None
    since: datetime | None = None
    valid_until: datetime | None = None
    grace_until: datetime | None = None
    program_version: int | None = None
    state: Mapping[str, Any] | None = None
    due_at: datetime | None = None
    rejudge_from: datetime | None = None
    carried: bool = True
    rejudge_for: Mapping[str, Any] | None = None
    warn_at: datetime | None = None


ENTER_SQL = """
INSERT INTO customer (customer_id)
SELECT customer_id FROM unnest($1::text[]) AS entered (customer_id) ORDER BY customer_id
ON CONFLICT (customer_id) DO NOTHING
"""

LOCK_SQL = """
SELECT customer_id, judged_at, tier, since, valid_until, grace_until, program_version, state, due_at, rejudge_from,
       carried, rejudge_for, warn_at
FROM customer
WHERE customer_id = ANY($1::text[])
ORDER BY customer_id
FOR UPDATE
"""


async def lock(connection: Connection, customer_ids: Iterable[str]) -> dict[str, Customer]:
    """Lock the rows of customers, in the order of their ids; a new customer gets a row."""
    wanted = sorted(set(customer_ids))
    # Rows are inserted before any is locked: a transaction that holds locks and then waits for another's new row would
    # wait out of order, and could deadlock.
    await connection.execute(ENTER_SQL, wanted)
    return _by_id(await connection.fetch(LOCK_SQL, wanted))


FIND_SQL = """
SELECT customer_id, judged_at, tier, since, valid_until, grace_until, program_version, state, due_at, rejudge_from,
       carried, rejudge_for, warn_at
FROM customer
WHERE customer_id = $1
"""


async def find(connection: Connection, customer_id: str) -> Customer:
    """A customer, who may be unknown, without a lock."""
    row = await connection.fetchrow(FIND_SQL, customer_id)
    return Customer(*row) if row else Customer(customer_id)


READ_SQL = """
SELECT customer_id, judged_at, tier, since, valid_until, grace_until, program_version, state, due_at, rejudge_from,
       carried, rejudge_for, warn_at
FROM customer
WHERE customer_id = ANY($1::text[])
"""


async def read(connection: Connection, customer_ids: Sequence[str]) -> dict[str, Customer]:
    """Those customers who are known, without a lock."""
    return _by_id(await connection.fetch(READ_SQL, customer_ids))


CLAIM_DUE_SQL = """
SELECT customer_id, judged_at, tier, since, valid_until, grace_until, program_version, state, due_at, rejudge_from,
       carried, rejudge_for, warn_at
FROM customer
WHERE due_at <= $1 AND rejudge_from IS NULL AND customer_id <> ALL($3::text[])
ORDER BY due_at, customer_id
LIMIT $2
FOR UPDATE SKIP LOCKED
"""


async def claim_due(
    connection: Connection, now: datetime, limit: int, other_than: Collection[str] = ()
) -> dict[str, Customer]:
    """Lock customers of whom something has fallen due and who need no judging again, unless others hold them."""
    return _by_id(await connection.fetch(CLAIM_DUE_SQL, now, limit, list(other_than)))


CLAIM_MARKED_SQL = """
SELECT customer_id, judged_at, tier, since, valid_until, grace_until, program_version, state, due_at, rejudge_from,
       carried, rejudge_for, warn_at
FROM customer
WHERE rejudge_from IS NOT NULL
  AND NOT EXISTS (SELECT FROM rejudging WHERE rejudging.customer_id = customer.customer_id AND until > $1)
ORDER BY rejudge_from, customer_id
LIMIT $2
FOR UPDATE SKIP LOCKED
"""


async def claim_marked(connection: Connection, now: datetime, limit: int) -> dict[str, Customer]:
    """Lock customers who have to be judged again, unless others hold them or judge them, or they were just judged."""
    return _by_id(await connection.fetch(CLAIM_MARKED_SQL, now, limit))


IS_UPGRADING_SQL = """
SELECT EXISTS (SELECT FROM customer WHERE rejudge_from < '0001-01-02Z' AND NOT carried)
"""


async def is_upgrading(pool: Pool) -> bool:
    """Whether there are customers of whose orders an earlier release recorded the refunds and not what they took."""
    return bool(await pool.fetchval(IS_UPGRADING_SQL))


SAVE_SQL = """
UPDATE customer
SET judged_at = new.judged_at, tier = new.tier, since = new.since, valid_until = new.valid_until,
    grace_until = new.grace_until, program_version = new.program_version, state = new.state, due_at = new.due_at,
    rejudge_from = new.rejudge_from, carried = new.carried, rejudge_for = new.rejudge_for,
    warn_at = new.warn_at
FROM unnest($1::text[], $2::timestamptz[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[],
            $7::int[], $8::json[], $9::timestamptz[], $10::timestamptz[], $11::boolean[], $12::json[],
            $13::timestamptz[])
    AS new (customer_id, judged_at, tier, since, valid_until, grace_until, program_version, state, due_at, rejudge_from,
            carried, rejudge_for, warn_at)
WHERE customer.customer_id = new.customer_id
"""


async def save(connection: Connection, customers: Sequence[Customer]) -> None:
    """Write the rows of customers."""
    if customers:
        await connection.execute(SAVE_SQL, *zip(*customers, strict=True))


class Mark(NamedTuple):
    """From when on a customer has to be judged again, and what arrived (see `Customer.rejudge_for`)."""

    since: datetime
    arrived: Mapping[str, Any]


# Also noted where the customer is being judged again: that does not see what arrives meanwhile.
MARK_SQL = """
WITH new AS (
    SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::json[]) AS new (customer_id, since, arrived)
), noted AS (
    UPDATE rejudging
    SET late_from = least(late_from, since), late_for = CASE WHEN late_from < since THEN late_for ELSE arrived END
    FROM new
    WHERE rejudging.customer_id = new.customer_id
)
UPDATE customer
SET rejudge_from = least(rejudge_from, new.since),
    rejudge_for = CASE WHEN rejudge_from < new.since THEN rejudge_for ELSE arrived END
FROM new
WHERE customer.customer_id = new.customer_id
"""


async def mark(connection: Connection, marks: Mapping[str, Mark]) -> None:
    """Have customers judged again from an instant on, or from an earlier one that they are marked with."""
    if marks:
        await connection.execute(MARK_SQL, list(marks), *zip(*marks.values(), strict=True))


COUNT_MARKED_SQL = """
SELECT count(*) FROM customer WHERE rejudge_from IS NOT NULL
"""


async def count_marked(pool: Pool) -> int:
    """The number of customers who have to be judged again."""
    return await pool.fetchval(COUNT_MARKED_SQL)


def _by_id(rows: Iterable[Any]) -> dict[str, Customer]:
    return {row["customer_id"]: Customer(*row) for row in rows}


# Every $2th customer ends a slice; the last one has no end, so that newcomers are in one too.
CUT_SLICES_SQL = """
WITH ends AS (
    SELECT customer_id, (place / $2)::int AS number
    FROM (SELECT customer_id, row_number() OVER (ORDER BY customer_id) AS place FROM customer) AS placed
    WHERE place % $2::bigint = 0
)
INSERT INTO slice (run_id, number, after_id, until_id)
SELECT $1::uuid, number, lag(customer_id, 1, '') OVER (ORDER BY number), customer_id FROM ends
UNION ALL
SELECT $1::uuid, coalesce(max(number), 0) + 1, coalesce(max(customer_id), ''), NULL FROM ends
"""


async def cut_slices(connection: Connection, run_id: UUID, customers: int) -> None:
    """Cut all customers into slices of some customers each. The caller holds a lock of the run."""
    await connection.execute(CUT_SLICES_SQL, run_id, customers)
