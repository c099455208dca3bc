"""Events that arrived before the order, review or purchase that they refer to, stored until it arrives."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import structlog

from shared import telemetry
from shared.contracts.envelope import Event, decode
from shared.contracts.outcomes import Waiting
from shared.contracts.registry import TYPES
from shared.messaging import erasure, records
from shared.messaging.erasure import Erasure
from shared.postgres.ids import joined
from shared.postgres.pool import Connection, Pool

_EVERY_TYPE: Final = frozenset(TYPES)
_AT_ONCE: Final = 1_000
"""Maximum number of expired records that one transaction deletes."""

_log = structlog.stdlib.get_logger(__name__)


async def keep(connection: Connection, events: Iterable[Waiting]) -> None:
    """Store events as they were received, also several with the same natural id, which are judged when taken.

    Events from before the erasure of their customer are reduced to the fields of the contract.
    """
    waiting = list(events)
    if not waiting:
        return
    erased = await erasure.find(connection, {item.event.customer_id for item in waiting})
    await connection.copy_records_to_table(
        "waiting",
        records=[(item.event.customer_id, item.about, item.natural_id, *_row(item.event, erased)) for item in waiting],
        columns=("customer_id", "about", "natural_id", *records.COLUMNS, "reduced"),
    )


def _row(event: Event, erased: Mapping[str, Erasure]) -> tuple[Any, ...]:
    erasure_ = erased.get(event.customer_id)
    if erasure_ is None or not erasure_.covers(event.time, event.record.timestamp):
        return (*records.to_row(event.record), False)
    return (*records.to_row(records.reduced(event)), True)


TAKE_SQL = """
DELETE FROM waiting
USING unnest(string_to_array($1, chr(31)), string_to_array($2, chr(31))) AS wanted (customer_id, about)
WHERE waiting.customer_id = wanted.customer_id AND waiting.about = wanted.about
RETURNING waiting.id, waiting.about, natural_id,
    topic, partition, "offset", key, value, header_names, header_values, "timestamp"
"""


async def take(connection: Connection, wanted: Sequence[tuple[str, str]]) -> list[Waiting]:
    """Remove and return the events for (customer, about) pairs, by (time, natural id, arrival)."""
    if not wanted:
        return []
    customers, abouts = zip(*wanted, strict=True)
    taken: list[Waiting] = []
    rows: list[Any] = await connection.fetch(TAKE_SQL, joined(customers), joined(abouts))
    for row in sorted(rows, key=lambda row: row["id"]):
        event = decode(records.from_row(row), _EVERY_TYPE)
        assert event is not None, "only events that were decoded wait"
        taken.append(Waiting(row["about"], row["natural_id"], event))
    return sorted(taken, key=lambda item: (item.event.time, item.natural_id))


FORGET_SQL = """
DELETE FROM waiting
WHERE id IN (SELECT id FROM waiting WHERE recorded_at < $1 ORDER BY recorded_at LIMIT $2 FOR UPDATE SKIP LOCKED)
RETURNING customer_id, about, natural_id, topic, partition, "offset"
"""


async def forget(pool: Pool, now: datetime, kept_for: timedelta) -> None:
    """Job: delete events at the end of their retention; the log names each, since it never had an effect."""
    deleted = _AT_ONCE
    while deleted == _AT_ONCE:
        rows: list[Any] = await pool.fetch(FORGET_SQL, now - kept_for, _AT_ONCE)
        deleted = len(rows)
        telemetry.EXPIRED.labels("waiting").inc(deleted)
        for row in rows:
            _log.warning("waiting_record_expired", **row)
