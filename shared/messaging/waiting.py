"""Events that came before what they are about, kept as they came until it arrives."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from shared.contracts.envelope import Event, decode
from shared.contracts.registry import TYPES
from shared.messaging import records
from shared.postgres.pool import Connection

_EVERY_TYPE: Final = frozenset(TYPES)


@dataclass(frozen=True, slots=True)
class Waiting:
    """An event that waits; `about` and `natural_id` are `kind/id` (`order/4711`, `refund/9`)."""

    about: str
    natural_id: str
    event: Event


KEEP_SQL = """
INSERT INTO waiting (customer_id, about, natural_id,
                     topic, partition, "offset", key, value, header_names, header_values, "timestamp")
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (customer_id, about, natural_id) DO NOTHING
"""


async def keep(connection: Connection, events: Iterable[Waiting]) -> None:
    """Let events wait; of two with the same natural id the first stands."""
    rows = [(one.event.customer_id, one.about, one.natural_id, *records.to_row(one.event.record)) for one in events]
    if rows:
        # Pipelined by the driver: one round trip, whatever the number of rows.
        await connection.executemany(KEEP_SQL, rows)


TAKE_SQL = """
DELETE FROM waiting
USING unnest($1::text[], $2::text[]) AS wanted (customer_id, about)
WHERE waiting.customer_id = wanted.customer_id AND waiting.about = wanted.about
RETURNING waiting.about, natural_id, topic, partition, "offset", key, value, header_names, header_values, "timestamp"
"""


async def take(connection: Connection, wanted: Sequence[tuple[str, str]]) -> list[Waiting]:
    """What waits for any of the (customer, about) pairs, in the order of (time, natural id); it waits no longer."""
    if not wanted:
        return []
    customers, abouts = zip(*wanted, strict=True)
    taken: list[Waiting] = []
    for row in await connection.fetch(TAKE_SQL, customers, abouts):
        event = decode(records.from_row(row), _EVERY_TYPE)
        assert event is not None, "only events that were decoded wait"
        taken.append(Waiting(row["about"], row["natural_id"], event))
    return sorted(taken, key=lambda one: (one.event.time, one.natural_id))
