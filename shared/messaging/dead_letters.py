"""Dead letters: refused records, whole, which can be read and replayed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared import telemetry
from shared.contracts.envelope import Record
from shared.contracts.outcomes import Refusal
from shared.messaging import records
from shared.messaging.batch import Malformation
from shared.postgres.pool import Connection


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A refused record as it came, with the reason."""

    id: int
    record: Record
    type: str | None
    reason: str
    error: str
    recorded_at: datetime


def from_refusal(refusal: Refusal) -> Malformation:
    """A refused event as what is written of it."""
    return Malformation(refusal.event.record, refusal.reason, refusal.error, refusal.event.type)


async def write(connection: Connection, refused: Sequence[Malformation]) -> None:
    """Write refused records, whole."""
    if not refused:
        return
    await connection.copy_records_to_table(
        "dead_letter",
        records=[(*records.to_row(one.record), one.type, one.reason.value, _storable(one.error)) for one in refused],
        columns=(*records.COLUMNS, "type", "reason", "error"),
    )


def count(refused: Sequence[Malformation]) -> None:
    """Count what was written, once it is committed."""
    for one in refused:
        telemetry.DEAD_LETTERS.labels(one.record.topic, one.reason.value).inc()


def _storable(text: str) -> str:
    return text.replace("\x00", "\\0").encode("utf-8", "backslashreplace").decode()


LIST_SQL = """
SELECT id, topic, partition, "offset", key, value, header_names, header_values, "timestamp",
       type, reason, error, recorded_at
FROM dead_letter
WHERE ($1::text IS NULL OR reason = $1) AND ($2::bigint IS NULL OR id < $2)
ORDER BY id DESC
LIMIT $3
"""


async def page(connection: Connection, reason: str | None, before: int | None, limit: int) -> list[DeadLetter]:
    """Dead letters, newest first, of one reason or of all; `before` is the last id of the page before."""
    return [_from_row(row) for row in await connection.fetch(LIST_SQL, reason, before, limit)]


FIND_SQL = """
SELECT id, topic, partition, "offset", key, value, header_names, header_values, "timestamp",
       type, reason, error, recorded_at
FROM dead_letter WHERE id = $1
"""


async def find(connection: Connection, number: int) -> DeadLetter | None:
    """One dead letter, or None."""
    row = await connection.fetchrow(FIND_SQL, number)
    return None if row is None else _from_row(row)


IDS_SQL = "SELECT id FROM dead_letter WHERE reason = $1 ORDER BY id"


async def ids_of(connection: Connection, reason: str) -> list[int]:
    """The ids of all dead letters of a reason, oldest first."""
    return [row["id"] for row in await connection.fetch(IDS_SQL, reason)]


CLAIM_SQL = """
SELECT id, topic, partition, "offset", key, value, header_names, header_values, "timestamp",
       type, reason, error, recorded_at
FROM dead_letter
WHERE id = ANY($1::bigint[])
ORDER BY id
FOR UPDATE SKIP LOCKED
"""


async def claim(connection: Connection, ids: Sequence[int]) -> list[DeadLetter]:
    """Lock dead letters for a replay, oldest first; one that somebody else replays is left out."""
    return [_from_row(row) for row in await connection.fetch(CLAIM_SQL, ids)]


DELETE_SQL = "DELETE FROM dead_letter WHERE id = ANY($1::bigint[])"


async def delete(connection: Connection, ids: Sequence[int]) -> None:
    """Drop dead letters that were replayed; what is refused again has become a new one."""
    await connection.execute(DELETE_SQL, ids)


def _from_row(row: Any) -> DeadLetter:  # noqa: ANN401 asyncpg's Record has no types
    return DeadLetter(row["id"], records.from_row(row), row["type"], row["reason"], row["error"], row["recorded_at"])
