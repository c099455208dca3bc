"""Events that came before what they are about, kept as they came until it arrives."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from shared.contracts.envelope import decode
from shared.contracts.outcomes import Waiting
from shared.contracts.registry import TYPES
from shared.messaging import records
from shared.postgres.ids import joined
from shared.postgres.pool import Connection

_EVERY_TYPE: Final = frozenset(TYPES)


async def keep(connection: Connection, events: Iterable[Waiting]) -> None:
    """Let events wait, each as it came; which of two with one natural id stands is found out in the end."""
    rows = [(one.event.customer_id, one.about, one.natural_id, *records.to_row(one.event.record)) for one in events]
    if rows:
        await connection.copy_records_to_table(
            "waiting", records=rows, columns=("customer_id", "about", "natural_id", *records.COLUMNS)
        )


TAKE_SQL = """
DELETE FROM waiting
USING unnest(string_to_array($1, chr(31)), string_to_array($2, chr(31))) AS wanted (customer_id, about)
WHERE waiting.customer_id = wanted.customer_id AND waiting.about = wanted.about
RETURNING waiting.id, waiting.about, natural_id,
    topic, partition, "offset", key, value, header_names, header_values, "timestamp"
"""


async def take(connection: Connection, wanted: Sequence[tuple[str, str]]) -> list[Waiting]:
    """What waits for any of the (customer, about) pairs, by (time, natural id, arrival); it waits no longer."""
    if not wanted:
        return []
    customers, abouts = zip(*wanted, strict=True)
    taken: list[Waiting] = []
    found: list[Any] = await connection.fetch(TAKE_SQL, joined(customers), joined(abouts))
    for row in sorted(found, key=lambda row: row["id"]):
        event = decode(records.from_row(row), _EVERY_TYPE)
        assert event is not None, "only events that were decoded wait"
        taken.append(Waiting(row["about"], row["natural_id"], event))
    return sorted(taken, key=lambda one: (one.event.time, one.natural_id))
