"""The outbox: events to publish, committed together with their effects."""

from collections.abc import Sequence
from datetime import datetime

from shared import telemetry
from shared.contracts.envelope import Publication
from shared.postgres.pool import Connection, Pool


async def announce(connection: Connection, publications: Sequence[Publication]) -> None:
    """Put publications into the outbox, in order; the relay publishes them after the commit.

    The caller holds the locks of their customers, so that the ids of each customer grow in the order of commits.
    """
    if publications:
        await connection.copy_records_to_table(
            "outbox",
            records=[(publication.topic, publication.key, publication.value) for publication in publications],
            columns=("topic", "key", "value"),
        )


MEASURE_SQL = """
SELECT count(*) AS rows, coalesce(extract(epoch FROM $1::timestamptz - min(created_at)), 0)::float8 AS age FROM outbox
"""


async def waiting(pool: Pool, now: datetime) -> tuple[int, float]:
    """The number of waiting rows, and the age of the oldest in seconds."""
    row = await pool.fetchrow(MEASURE_SQL, now)
    assert row is not None, "an aggregate has a row"
    return row["rows"], max(0.0, row["age"])


async def measure(pool: Pool, now: datetime) -> None:
    """Job: measure the number of waiting rows, and the age of the oldest."""
    rows, age = await waiting(pool, now)
    telemetry.OUTBOX_ROWS.set(rows)
    telemetry.OUTBOX_AGE.set(age)
