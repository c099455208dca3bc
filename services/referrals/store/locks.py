"""One customer, one transaction at a time."""

from collections.abc import Collection
from typing import Final

from shared.postgres.pool import Connection

_SPACE: Final = 0x72656672  # "refr": two-part advisory locks of this service

# An advisory lock, not a row's: a customer of whom nothing is known yet can be locked, and orders
# of customers whom nobody referred, nearly all, write nothing for it. Both sides of a referral are
# found and locked in one statement, in the order of their hashes; two customers of one hash share it.
LOCK_SQL = """
SELECT count(pg_advisory_xact_lock($1, hash))
FROM (
    SELECT DISTINCT hashtext(customer_id) AS hash
    FROM (
        SELECT unnest($2::text[])
        UNION ALL
        SELECT advocate_id FROM referral WHERE friend_id = ANY($2) AND state <> 'rejected'
        UNION ALL
        SELECT customer_id FROM referral_code WHERE code = ANY($3::text[])
    ) AS touched (customer_id)
    ORDER BY hash
) AS ordered
"""


async def lock(connection: Connection, customers: Collection[str], codes: Collection[str]) -> None:
    """Lock customers, the advocates of those who are friends, and the owners of codes, until the transaction ends.

    Advocates are those known when the statement began: see `lock_more`.
    """
    await connection.execute(LOCK_SQL, _SPACE, list(customers), list(codes))


async def lock_more(connection: Connection, advocates: Collection[str]) -> None:
    """Lock the advocates that were found under the lock: nearly always they are locked already.

    A sign-up can have committed while `lock` waited. Its advocate is then locked out of order, and
    two transactions that do so at once can deadlock: PostgreSQL ends one, which is tried again.
    """
    if advocates:
        await lock(connection, advocates, ())
