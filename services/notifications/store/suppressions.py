"""Addresses to which nothing is sent, and whose an address was, as keyed hashes."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from shared.postgres.pool import Connection


class Cause(StrEnum):
    """Why an address is suppressed."""

    BOUNCED = "bounced"
    """It does not exist."""
    COMPLAINED = "complained"
    """Its owner reported a message as spam."""


# A complaint stays where the address bounces later: a bounce ends when its owner says so.
SUPPRESS_SQL = """
INSERT INTO suppression (hash, reason, at)
SELECT hash, max(reason), $3::timestamptz
FROM unnest($1::bytea[], $2::text[]) AS new (hash, reason)
GROUP BY hash
ORDER BY hash
ON CONFLICT (hash) DO UPDATE SET reason = excluded.reason, at = excluded.at
WHERE suppression.reason = 'bounced' AND excluded.reason = 'complained'
"""


async def suppress(connection: Connection, hashes: Sequence[bytes], causes: Sequence[Cause], now: datetime) -> None:
    """Suppress addresses; those that are suppressed already stay so."""
    if hashes:
        await connection.execute(SUPPRESS_SQL, hashes, causes, now)


FIND_SQL = """
SELECT hash FROM suppression WHERE hash = ANY($1::bytea[])
"""


async def suppressed(connection: Connection, hashes: Sequence[bytes]) -> set[bytes]:
    """Those of the addresses that are suppressed."""
    if not hashes:
        return set()
    return {row["hash"] for row in await connection.fetch(FIND_SQL, hashes)}


FORGIVE_SQL = """
DELETE FROM suppression WHERE hash = ANY($1::bytea[]) AND reason = 'bounced'
"""


async def forgive(connection: Connection, hashes: Sequence[bytes]) -> None:
    """End the suppression of addresses that bounced; after a complaint it stays."""
    if hashes:
        await connection.execute(FORGIVE_SQL, hashes)


REACH_SQL = """
INSERT INTO reached (hash, customer_id, at)
SELECT DISTINCT hash, customer_id, $3::timestamptz FROM unnest($1::bytea[], $2::text[]) AS new (hash, customer_id)
ORDER BY hash, customer_id
ON CONFLICT (hash, customer_id) DO NOTHING
"""


async def reach(connection: Connection, hashes: Sequence[bytes], customer_ids: Sequence[str], now: datetime) -> None:
    """Remember whose addresses these are; the customers are locked."""
    if hashes:
        await connection.execute(REACH_SQL, hashes, customer_ids, now)


OWNERS_SQL = """
SELECT hash, customer_id FROM reached WHERE hash = ANY($1::bytea[]) ORDER BY hash, at DESC LIMIT $2
"""


async def owners(connection: Connection, hashes: Sequence[bytes], most: int) -> list[tuple[bytes, str]]:
    """The customers, at most so many, to whom something was sent at these addresses: (hash, customer)."""
    rows = await connection.fetch(OWNERS_SQL, hashes, most)
    return [(row["hash"], row["customer_id"]) for row in rows]
