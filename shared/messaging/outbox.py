"""The outbox: what a transaction wants to publish, committed with its effect."""

from collections.abc import Sequence
from datetime import datetime

from shared import telemetry
from shared.contracts.envelope import Publication
from shared.postgres.pool import Connection, Pool


async def announce(connection: Connection, publications: Sequence[Publication]) -> None:
    """Put publications into the outbox, in their order; the relay publishes them after the commit.

    The caller holds the locks of the customers that they are keyed by: that makes ids of one
    customer grow in the order of commits.
    """
    if publications:
        await connection.copy_records_to_table(
            "outbox",
            records=[(one.topic, one.key, one.value) for one in publications],
            columns=("topic", "key", "value"),
        )


MEASURE_SQL = """
SELECT count(*) AS rows, coalesce(extract(epoch FROM $1::timestamptz - min(created_at)), 0)::float8 AS age FROM outbox
"""


async def measure(pool: Pool, now: datetime) -> None:
    """The job that measures how many rows wait and how old the oldest is."""
    row = await pool.fetchrow(MEASURE_SQL, now)
    assert row is not None, "an aggregate has a row"
    telemetry.OUTBOX_ROWS.set(row["rows"])
    telemetry.OUTBOX_AGE.set(max(0.0, row["age"]))
