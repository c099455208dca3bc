"""The erasure of customers, in every service: of what is stored, and of records that arrive later.

The transaction of a `shop.customer.erased.v1` erases up to MOST_AT_ONCE rows of a table. A job erases the rest, and
looks once more for rows of transactions that ran at the same time.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import structlog

from shared.contracts.envelope import Event, decode
from shared.contracts.registry import TYPES
from shared.contracts.shop import CustomerErased
from shared.messaging import records
from shared.postgres.checks import Query
from shared.postgres.pool import Connection, Pool
from shared.turns import map_in_turns

MOST_AT_ONCE: Final = 1_000
"""Maximum number of rows of a table that a batch erases, since other transactions wait for it."""

MOST_BY_THE_JOB: Final = 10_000
"""Maximum number of rows of a table that a transaction of the job erases."""

SETTLED_AFTER: Final = timedelta(minutes=10)
"""Time from an erasure to the last look of the job, longer than any transaction is open."""

_CUSTOMERS_AT_ONCE: Final = 100
_EVERY_TYPE: Final = frozenset(TYPES)

_log = structlog.stdlib.get_logger(__name__)


class Erasure(NamedTuple):
    """A customer's erasure, which covers events up to `erased_at`.

    `published_at` is the Kafka timestamp of its record; `recorded_at` is when this service handled it.
    """

    customer_id: str
    erased_at: datetime
    published_at: datetime
    recorded_at: datetime

    def covers(self, occurred_at: datetime | None, timestamp: datetime) -> bool:
        """Whether a later record is erased, by the time of its event, or by Kafka's timestamp where it has none."""
        return timestamp <= self.published_at if occurred_at is None else occurred_at <= self.erased_at


EraseOwn = Callable[[Connection, Sequence[Erasure], int], Awaitable[int]]
"""Erases rows of a service's own tables, at most so many of each; returns the number of rows.

It skips locked rows, to which the job comes back.
"""


async def erase_nothing(_connection: Connection, _erasures: Sequence[Erasure], _most: int) -> int:
    """Erase nothing: for a service without personal data of its own."""
    return 0


def others(events: Iterable[Event]) -> list[Event]:
    """The events without erasures, for the rules of a service."""
    return [event for event in events if not isinstance(event.data, CustomerErased)]


RECORD_SQL = """
INSERT INTO erasure (customer_id, erased_at, published_at, recorded_at, look_at)
SELECT customer_id, erased_at, published_at, clock_timestamp(), $4
FROM unnest($1::text[], $2::timestamptz[], $3::timestamptz[]) AS new (customer_id, erased_at, published_at)
ORDER BY customer_id
ON CONFLICT (customer_id) DO UPDATE
SET erased_at = excluded.erased_at, published_at = excluded.published_at, recorded_at = excluded.recorded_at,
    look_at = excluded.look_at
WHERE erasure.erased_at < excluded.erased_at
RETURNING customer_id, erased_at, published_at, recorded_at
"""


async def apply(connection: Connection, events: Iterable[Event], erase_own: EraseOwn, now: datetime) -> None:
    """Apply the erasures among events; other events and earlier erasures are skipped.

    The handler calls it after all its other writes, so that rows of the same batch are erased too.
    """
    newest: dict[str, Event] = {}
    for event in events:
        if isinstance(event.data, CustomerErased):
            latest = newest.setdefault(event.customer_id, event)
            if event.time > latest.time:
                newest[event.customer_id] = event
    if not newest:
        return
    times = [event.time for event in newest.values()]
    published = [event.record.timestamp for event in newest.values()]
    rows = await connection.fetch(RECORD_SQL, list(newest), times, published, now)
    if rows:
        await _erase(connection, [Erasure(*row) for row in rows], erase_own, MOST_AT_ONCE)


CLAIM_SQL = """
SELECT customer_id, erased_at, published_at, recorded_at
FROM erasure WHERE look_at <= $1
ORDER BY look_at, customer_id
LIMIT $2
FOR UPDATE SKIP LOCKED
"""


async def finish(pool: Pool, now: datetime, erase_own: EraseOwn) -> None:
    """Job: erase remaining rows of erased customers, a bounded number in each transaction."""
    while True:
        async with pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch(CLAIM_SQL, now, _CUSTOMERS_AT_ONCE)
            if not rows:
                return
            erasures = [Erasure(*row) for row in rows]
            if not await _erase(connection, erasures, erase_own, MOST_BY_THE_JOB):
                await _look_later(connection, erasures, now)


LOOK_LATER_SQL = """
UPDATE erasure SET look_at = CASE WHEN recorded_at + $3::interval > $2 THEN recorded_at + $3::interval END
WHERE customer_id = ANY($1::text[])
"""


async def _look_later(connection: Connection, erasures: Sequence[Erasure], now: datetime) -> None:
    """Schedule a second look at finished erasures, after all transactions that ran concurrently have ended."""
    customers = [erasure.customer_id for erasure in erasures]
    await connection.execute(LOOK_LATER_SQL, customers, now, SETTLED_AFTER)
    _log.info("customers_erased", customer_ids=customers)


FIND_SQL = """
SELECT customer_id, erased_at, published_at, recorded_at FROM erasure WHERE customer_id = ANY($1::text[])
"""


async def find(connection: Connection, customer_ids: Collection[str]) -> dict[str, Erasure]:
    """The erasures of those customers who were erased, by customer."""
    if not customer_ids:
        return {}
    return {row["customer_id"]: Erasure(*row) for row in await connection.fetch(FIND_SQL, list(customer_ids))}


async def _erase(connection: Connection, erasures: Sequence[Erasure], erase_own: EraseOwn, most: int) -> int:
    erased = await _erase_letters(connection, erasures, most)
    erased += await _reduce_waiting(connection, erasures, most)
    erased += await _erase_answers(connection, erasures, most)
    return erased + await erase_own(connection, erasures, most)


# A letter that was there before the erasure goes too where its time cannot be read.
ERASE_LETTERS_SQL = """
WITH covered AS (
    SELECT DISTINCT own.id
    FROM unnest($1::text[], $2::timestamptz[], $3::timestamptz[], $4::timestamptz[])
         AS erased (customer_id, erased_at, published_at, recorded_at)
    CROSS JOIN LATERAL (
        SELECT id
        FROM dead_letter
        WHERE customer_ids @> ARRAY[erased.customer_id] AND dead_letter.erased_at IS NULL
          AND CASE WHEN occurred_at IS NULL
                   THEN recorded_at <= erased.recorded_at OR "timestamp" <= erased.published_at
                   ELSE occurred_at <= erased.erased_at END
        LIMIT $5
        FOR UPDATE SKIP LOCKED
    ) AS own
    LIMIT $5
)
UPDATE dead_letter
SET key = NULL, value = NULL, header_names = '{}', header_values = '{}', error = '', erased_at = now()
FROM covered
WHERE dead_letter.id = covered.id
RETURNING dead_letter.id
"""


async def _erase_letters(connection: Connection, erasures: Sequence[Erasure], most: int) -> int:
    return len(await connection.fetch(ERASE_LETTERS_SQL, *columns(erasures), most))


WAITING_SQL = """
SELECT id, topic, partition, "offset", key, value, header_names, header_values, "timestamp"
FROM waiting
WHERE customer_id = ANY($1::text[]) AND NOT reduced
LIMIT $2
FOR UPDATE SKIP LOCKED
"""

REDUCE_SQL = """
UPDATE waiting
SET key = new.key, value = new.value, header_names = $4, header_values = $5, reduced = true
FROM unnest($1::bigint[], $2::bytea[], $3::bytea[]) AS new (id, key, value)
WHERE waiting.id = new.id
"""


async def _reduce_waiting(connection: Connection, erasures: Sequence[Erasure], most: int) -> int:
    """Reduce waiting records to the contract's fields: a waiting refund still counts when its order arrives."""
    rows: list[Any] = await connection.fetch(WAITING_SQL, [erasure.customer_id for erasure in erasures], most)
    if not rows:
        return 0
    reduced = await map_in_turns(lambda row: records.reduced(_event(row)), rows)
    names, contents = records.header_columns(reduced[0].headers)
    ids = [row["id"] for row in rows]
    await connection.execute(
        REDUCE_SQL, ids, [record.key for record in reduced], [record.value for record in reduced], names, contents
    )
    return len(rows)


def _event(row: Any) -> Event:  # noqa: ANN401 asyncpg's Record has no types
    event = decode(records.from_row(row), _EVERY_TYPE)
    assert event is not None, "only events that were decoded wait"
    return event


ERASE_ANSWERS_SQL = """
WITH covered AS (
    SELECT principal, key
    FROM idempotency_key JOIN unnest($1::text[], $2::timestamptz[]) AS erased (customer_id, at) USING (customer_id)
    WHERE status < 400 AND created_at <= erased.at
    LIMIT $3
    FOR UPDATE OF idempotency_key SKIP LOCKED
)
UPDATE idempotency_key SET status = 410, body = 'null'
FROM covered
WHERE idempotency_key.principal = covered.principal AND idempotency_key.key = covered.key
RETURNING idempotency_key.key
"""


async def _erase_answers(connection: Connection, erasures: Sequence[Erasure], most: int) -> int:
    customers, _, _, recorded_at = columns(erasures)
    return len(await connection.fetch(ERASE_ANSWERS_SQL, customers, recorded_at, most))


def columns(erasures: Sequence[Erasure]) -> tuple[list[Any], ...]:
    """Erasures as arrays for statements: customers, erased_at, published_at, recorded_at."""
    return tuple(map(list, zip(*erasures, strict=True)))


LEFT_SQL = """
SELECT erasure.customer_id AS id
FROM erasure
WHERE look_at IS NULL AND (
    EXISTS (
        SELECT FROM dead_letter
        WHERE customer_ids @> ARRAY[erasure.customer_id] AND dead_letter.erased_at IS NULL
          AND CASE WHEN occurred_at IS NULL THEN "timestamp" <= erasure.published_at
                   ELSE occurred_at <= erasure.erased_at END
    )
    OR EXISTS (
        SELECT FROM idempotency_key AS answer
        WHERE answer.customer_id = erasure.customer_id AND status < 400 AND created_at <= erasure.recorded_at
    )
)
LIMIT $1
"""


def query() -> Query:
    """A check of `verify`: finished erasures left no records and no answers."""
    return Query("records and answers of erased customers are gone", LEFT_SQL)
