"""The erasure of customers: what goes in every service, at once and for what arrives later.

The transaction of a `shop.customer.erased.v1` removes up to MOST_AT_ONCE rows of a kind; a job removes what is
left beyond that, and looks once more for what transactions wrote that ran at the same time.
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
"""How many rows of a kind the transaction of a batch erases: others wait for it."""

MOST_BY_THE_JOB: Final = 10_000
"""How many a transaction of the job erases."""

SETTLED_AFTER: Final = timedelta(minutes=10)
"""How long after an erasure the job looks for the last time: no transaction is open for as long."""

_CUSTOMERS_AT_ONCE: Final = 100
_EVERY_TYPE: Final = frozenset(TYPES)

_log = structlog.stdlib.get_logger(__name__)


class Erasure(NamedTuple):
    """A customer's erasure: what happened up to `erased_at` is covered by it.

    `published_at` is the Kafka timestamp of the event's record, `recorded_at` when it was handled here.
    """

    customer_id: str
    erased_at: datetime
    published_at: datetime
    recorded_at: datetime

    def covers(self, occurred_at: datetime | None, timestamp: datetime) -> bool:
        """Whether a record that arrives after the erasure is erased: by its event's time, or else by Kafka's."""
        return timestamp <= self.published_at if occurred_at is None else occurred_at <= self.erased_at


EraseOwn = Callable[[Connection, Sequence[Erasure], int], Awaitable[int]]
"""Erases what a service itself keeps of customers, at most so many rows of a table.

Returns how many rows it erased. It skips rows that are locked: the job comes back for them.
"""


async def erase_nothing(_connection: Connection, _erasures: Sequence[Erasure], _most: int) -> int:
    """For a service that keeps no personal data of its own."""
    return 0


def others(events: Iterable[Event]) -> list[Event]:
    """The events that are no erasure: what a service has to handle whose own tables hold nothing to erase."""
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
    """Erase the customers of whom events say so; other events are passed over, and so is an erasure that is known.

    The handler calls it after it wrote what the batch is about: what its events wrote of an erased customer goes too.
    """
    newest: dict[str, Event] = {}
    for event in events:
        if isinstance(event.data, CustomerErased):
            known = newest.setdefault(event.customer_id, event)
            if event.time > known.time:
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
    """The job: erase what is left of erased customers, a bounded part in each transaction."""
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
    """Of these nothing is left: look once more when whatever ran beside their erasure has ended."""
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
    """Keep of waiting records what the books need: a refund that waits for its order still counts when it comes."""
    rows: list[Any] = await connection.fetch(WAITING_SQL, [one.customer_id for one in erasures], most)
    if not rows:
        return 0
    reduced = await map_in_turns(lambda row: records.reduced(_event(row)), rows)
    names, contents = records.header_columns(reduced[0].headers)
    ids = [row["id"] for row in rows]
    await connection.execute(
        REDUCE_SQL, ids, [one.key for one in reduced], [one.value for one in reduced], names, contents
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
    """Erasures as the arrays that statements take: customers, erased_at, published_at, recorded_at."""
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
    """A check of `verify`: no record and no answer is left of customers whose erasure is finished."""
    return Query("records and answers of erased customers are gone", LEFT_SQL)
