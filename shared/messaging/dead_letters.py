"""Dead letters: complete refused records, which can be read and replayed until they are erased or expire."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog

from shared import telemetry
from shared.contracts import ownership
from shared.contracts.envelope import Record
from shared.contracts.outcomes import Refusal
from shared.messaging import erasure, records
from shared.messaging.batch import Malformation
from shared.postgres.pool import Connection, Pool

_AT_ONCE: Final = 1_000
"""Maximum number of expired letters that one transaction deletes."""

_LONGEST_ERROR: Final = 2_000
"""Maximum length of a stored error in characters: a message may quote a whole record."""

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A refused record as it was received, with the reason.

    `customer_ids` are the customers that the record names. A letter that was erased with one of them, at
    `erased_at`, has lost key, value, headers and error.
    """

    id: int
    record: Record
    type: str | None
    reason: str
    error: str
    recorded_at: datetime
    customer_ids: tuple[str, ...]
    erased_at: datetime | None


@dataclass(frozen=True, slots=True)
class Filter:
    """Selects dead letters by reason and by customer; None selects all."""

    reason: str | None = None
    customer_id: str | None = None


def from_refusal(refusal: Refusal) -> Malformation:
    """The dead letter of a refused event."""
    return Malformation(refusal.event.record, refusal.reason, refusal.error, refusal.event.type)


async def write(connection: Connection, refused: Sequence[Malformation]) -> None:
    """Write refused records; those of erased customers without key, value, headers and error."""
    if not refused:
        return
    owners = [ownership.of_record(refusal.record) for refusal in refused]
    erased = await erasure.find(connection, {name for owner in owners for name in owner.customer_ids})
    await connection.copy_records_to_table(
        "dead_letter",
        records=[_row(refusal, owner, erased) for refusal, owner in zip(refused, owners, strict=True)],
        columns=(*records.COLUMNS, "type", "reason", "error", "customer_ids", "occurred_at", "erased_at"),
    )


def _row(refused: Malformation, owner: ownership.Ownership, erased: dict[str, erasure.Erasure]) -> tuple[Any, ...]:
    record = refused.record
    erasures = (erased[name] for name in owner.customer_ids if name in erased)
    if any(erasure_.covers(owner.occurred_at, record.timestamp) for erasure_ in erasures):
        bare = (record.topic, record.partition, record.offset, None, None, [], [], record.timestamp)
        return (*bare, refused.type, refused.reason.value, "", *owner, datetime.now(UTC))
    return (*records.to_row(record), refused.type, refused.reason.value, _storable(refused.error), *owner, None)


def count(refused: Sequence[Malformation]) -> None:
    """Count dead letters that were committed."""
    for refusal in refused:
        telemetry.DEAD_LETTERS.labels(refusal.record.topic, refusal.reason.value).inc()


def _storable(text: str) -> str:
    text = text if len(text) <= _LONGEST_ERROR else f"{text[:_LONGEST_ERROR]}…"
    return text.replace("\x00", "\\0").encode("utf-8", "backslashreplace").decode()


LIST_SQL = """
SELECT id, topic, partition, "offset", substring(key FROM 1 FOR 1024) AS key, NULL::bytea AS value,
       '{}'::bytea[] AS header_names, '{}'::bytea[] AS header_values, "timestamp",
       type, reason, error, recorded_at, customer_ids, erased_at
FROM dead_letter
WHERE ($1::text IS NULL OR reason = $1) AND ($2::text IS NULL OR customer_ids @> ARRAY[$2])
  AND ($3::bigint IS NULL OR id < $3)
ORDER BY id DESC
LIMIT $4
"""


async def page(connection: Connection, wanted: Filter, before: int | None, limit: int) -> list[DeadLetter]:
    """A page of dead letters, newest first; `before` is the last id of the previous page.

    They lack value and headers, and have the first 1,024 bytes of the key, which bounds the size of a page.
    """
    rows = await connection.fetch(LIST_SQL, wanted.reason, wanted.customer_id, before, limit)
    return [_from_row(row) for row in rows]


FIND_SQL = """
SELECT id, topic, partition, "offset", key, value, header_names, header_values, "timestamp",
       type, reason, error, recorded_at, customer_ids, erased_at
FROM dead_letter WHERE id = $1
"""


async def find(connection: Connection, number: int) -> DeadLetter | None:
    """A dead letter with all its fields, or None."""
    row = await connection.fetchrow(FIND_SQL, number)
    return None if row is None else _from_row(row)


IDS_SQL = """
SELECT id FROM dead_letter
WHERE ($1::text IS NULL OR reason = $1) AND ($2::text IS NULL OR customer_ids @> ARRAY[$2])
ORDER BY id
"""


async def ids_of(connection: Connection, wanted: Filter) -> list[int]:
    """The ids of dead letters, oldest first."""
    return [row["id"] for row in await connection.fetch(IDS_SQL, wanted.reason, wanted.customer_id)]


OLDEST_SQL = """
SELECT id FROM dead_letter WHERE reason = $1 AND id > $2 ORDER BY id LIMIT $3
"""


async def oldest(connection: Connection, reason: str, after: int, limit: int) -> list[int]:
    """The ids of the oldest dead letters of a reason whose id is greater than `after`."""
    return [row["id"] for row in await connection.fetch(OLDEST_SQL, reason, after, limit)]


COUNTS_SQL = """
SELECT reason, count(*) AS count, max(recorded_at) AS newest_at FROM dead_letter GROUP BY reason ORDER BY reason
"""


async def counts(pool: Pool) -> list[Any]:
    """The number of dead letters of each reason, and when the newest was recorded."""
    return await pool.fetch(COUNTS_SQL)


CLAIM_SQL = """
SELECT id, topic, partition, "offset", key, value, header_names, header_values, "timestamp",
       type, reason, error, recorded_at, customer_ids, erased_at
FROM dead_letter
WHERE id = ANY($1::bigint[])
ORDER BY id
FOR UPDATE SKIP LOCKED
"""


async def claim(connection: Connection, ids: Sequence[int]) -> list[DeadLetter]:
    """Lock dead letters for a replay, oldest first, except those that another replay has locked."""
    return [_from_row(row) for row in await connection.fetch(CLAIM_SQL, ids)]


DELETE_SQL = "DELETE FROM dead_letter WHERE id = ANY($1::bigint[])"


async def delete(connection: Connection, ids: Sequence[int]) -> None:
    """Delete replayed dead letters; a record that was refused again has a new one."""
    await connection.execute(DELETE_SQL, ids)


FORGET_SQL = """
DELETE FROM dead_letter
WHERE id IN (SELECT id FROM dead_letter WHERE recorded_at < $1 ORDER BY recorded_at LIMIT $2 FOR UPDATE SKIP LOCKED)
RETURNING id
"""


async def forget(pool: Pool, now: datetime, kept_for: timedelta) -> None:
    """Job: delete dead letters at the end of their retention, a bounded number in each transaction."""
    deleted = _AT_ONCE
    while deleted == _AT_ONCE:
        deleted = len(await pool.fetch(FORGET_SQL, now - kept_for, _AT_ONCE))
        if deleted:
            telemetry.EXPIRED.labels("dead_letter").inc(deleted)
            _log.info("dead_letters_expired", count=deleted)


def _from_row(row: Any) -> DeadLetter:  # noqa: ANN401 asyncpg's Record has no types
    return DeadLetter(
        id=row["id"],
        record=records.from_row(row),
        type=row["type"],
        reason=row["reason"],
        error=row["error"],
        recorded_at=row["recorded_at"],
        customer_ids=tuple(row["customer_ids"]),
        erased_at=row["erased_at"],
    )
