"""Locks, by which one transaction at a time handles a customer.

A referral that was not rejected changes under the lock of its advocate; which referral of a friend stands changes under
the friend's lock too, unless one only falls due.
"""

from collections.abc import Collection
from typing import Final

from services.referrals.store.referrals import OF_FRIEND
from shared.postgres.pool import Connection

_SPACE: Final = 0x72656672  # "refr": two-part advisory locks of this service

# The savepoint ends with the transaction: to release it would be a round trip more for each batch.
BEGIN_SQL = "SAVEPOINT sides"


async def begin(connection: Connection) -> None:
    """Note the locks that the transaction has, before it locks customers."""
    await connection.execute(BEGIN_SQL)


RELEASE_SQL = "ROLLBACK TO SAVEPOINT sides"


async def release(connection: Connection) -> None:
    """Release the locks on customers that the transaction got since `begin`; nothing was written since."""
    await connection.execute(RELEASE_SQL)


# Advisory locks, not row locks: an unknown customer can be locked, and nothing is written for customers without a
# referral, which most are. Locks are taken in the order of their hashes, so that two batches wait for each other
# instead of deadlocking; customers with the same hash share a lock.
LOCK_SQL = """
WITH touched AS (
    SELECT unnest($2::text[]) AS customer_id
    UNION
    SELECT advocate_id
    FROM (SELECT DISTINCT friend_id FROM referral WHERE friend_id = ANY($2::text[]) AND state <> 'rejected') AS friend
    CROSS JOIN LATERAL (
        SELECT advocate_id FROM referral
        WHERE friend_id = friend.friend_id AND state <> 'rejected'
        ORDER BY (state = 'expired'), number DESC
        LIMIT $4
    ) AS own
    UNION
    SELECT customer_id FROM referral_code WHERE coalesce(key, code) = ANY($3::text[])
), locked AS MATERIALIZED (
    SELECT customer_id, pg_advisory_xact_lock($1, hash)
    FROM (SELECT customer_id, hashtext(customer_id) AS hash FROM touched ORDER BY hash) AS ordered
)
SELECT customer_id FROM locked
"""


async def lock(connection: Connection, customers: Collection[str], keys: Collection[str]) -> set[str]:
    """Lock customers, the advocates of those who are friends, and the owners of codes, until the transaction ends.

    Codes are named by their keys. Returns the locked customers. Advocates and owners are those at the start of the
    statement: a sign-up may have been committed while it waited, so the caller has to check again.
    """
    return {row["customer_id"] for row in await connection.fetch(LOCK_SQL, _SPACE, customers, keys, OF_FRIEND)}


ONLY_SQL = """
WITH locked AS MATERIALIZED (
    SELECT pg_advisory_xact_lock($1, hash)
    FROM (SELECT DISTINCT hashtext(customer_id) AS hash FROM unnest($2::text[]) AS customer_id ORDER BY hash) AS ordered
)
SELECT count(*) FROM locked
"""


async def lock_only(connection: Connection, customers: Collection[str]) -> None:
    """Lock just these customers until the transaction ends; nothing else may be locked."""
    await connection.execute(ONLY_SQL, _SPACE, list(customers))


TRY_SQL = """
SELECT customer_id
FROM unnest($2::text[]) AS customer_id
WHERE pg_try_advisory_xact_lock($1, hashtext(customer_id))
"""


async def try_lock(connection: Connection, customers: Collection[str]) -> list[str]:
    """Lock those of the customers whom no other transaction has locked."""
    return [row["customer_id"] for row in await connection.fetch(TRY_SQL, _SPACE, list(customers))]
