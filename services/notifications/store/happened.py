"""What happened to customers, by event type: for conditions that look back, and for steps that wait for an event."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from services.notifications.rules.journey.asking import Answer, Ask
from shared.postgres.pool import Connection, Pool

KEPT: Final = timedelta(days=400)
"""How long it is known that something happened: longer than any condition looks back."""

_MOST_FORGOTTEN: Final = 10_000


class Happening(NamedTuple):
    """An event of a customer; `key` names it among those of the same type."""

    customer_id: str
    type: str
    key: str
    at: datetime


RECORD_SQL = """
INSERT INTO happened (customer_id, type, key, at)
SELECT customer_id, type, key, at
FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[])
     WITH ORDINALITY AS new (customer_id, type, key, at, place)
ORDER BY place
ON CONFLICT DO NOTHING
RETURNING number, customer_id, type, key
"""


async def record(connection: Connection, happenings: Sequence[Happening]) -> dict[tuple[str, str, str], int]:
    """Record what happened to locked customers; returns the numbers of what is new, by customer, type and key.

    Numbers of a customer grow in the order of `happenings`.
    """
    if not happenings:
        return {}
    rows = await connection.fetch(RECORD_SQL, *map(list, zip(*happenings, strict=True)))
    return {(customer_id, type_, key): number for number, customer_id, type_, key in rows}


ANSWER_SQL = """
SELECT found.times, found.first
FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::text[], $6::bigint[])
     WITH ORDINALITY AS ask (customer_id, type, after, until, besides, upto, place)
CROSS JOIN LATERAL (
    SELECT count(*) AS times, min(at) AS first
    FROM (
        SELECT at FROM happened
        WHERE happened.customer_id = ask.customer_id AND happened.type = ask.type AND at > ask.after
          AND at <= coalesce(ask.until, 'infinity') AND key IS DISTINCT FROM ask.besides
          AND number <= coalesce(ask.upto, number)
        ORDER BY at
        LIMIT 1000
    ) AS own
) AS found
ORDER BY ask.place
"""


async def answer(connection: Connection, asks: Sequence[Ask]) -> list[Answer]:
    """The answers to questions about locked customers, in the order of the questions."""
    if not asks:
        return []
    return [Answer(*row) for row in await connection.fetch(ANSWER_SQL, *map(list, zip(*asks, strict=True)))]


LAST_SQL = """
SELECT customer_id, at
FROM unnest($2::text[]) AS wanted (customer_id)
CROSS JOIN LATERAL (
    SELECT max(at) AS at FROM happened WHERE happened.customer_id = wanted.customer_id AND type = $1
) AS last
WHERE at IS NOT NULL
"""


async def last(connection: Connection, type_: str, customer_ids: Sequence[str]) -> dict[str, datetime]:
    """When an event of a type last happened to customers."""
    return dict(await connection.fetch(LAST_SQL, type_, list(customer_ids)))


FORGET_SQL = """
DELETE FROM happened WHERE ctid = ANY(ARRAY(SELECT ctid FROM happened WHERE at < $1 LIMIT $2)) RETURNING 1
"""


async def forget(pool: Pool, now: datetime) -> None:
    """Job: remove what happened too long ago to count."""
    while len(await pool.fetch(FORGET_SQL, now - KEPT, _MOST_FORGOTTEN)) == _MOST_FORGOTTEN:
        pass
