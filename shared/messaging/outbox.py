"""The outbox: what a transaction wants to publish, committed with its effect."""

from collections.abc import Sequence

from shared.contracts.envelope import Publication
from shared.postgres.pool import Connection


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
