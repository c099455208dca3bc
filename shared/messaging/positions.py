"""The position of each partition: a row that moves by compare-and-set, in the transaction of the effects."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.messaging.batch import Partition, Span
from shared.postgres.pool import Connection, Pool


@dataclass(frozen=True, slots=True)
class Group:
    """A consumer group on a Kafka cluster, which its positions belong to."""

    cluster_id: str
    name: str


class PositionMovedError(Exception):
    """A stored position is not the start of the batch: another worker handled its records."""


LOAD_SQL = """
SELECT topic, partition, next_offset FROM position WHERE cluster_id = $1 AND consumer_group = $2
"""


async def load(pool: Pool, group: Group) -> dict[Partition, int]:
    """The next offset of every partition with a position."""
    rows = await pool.fetch(LOAD_SQL, group.cluster_id, group.name)
    return {(row["topic"], row["partition"]): row["next_offset"] for row in rows}


ADVANCE_SQL = """
UPDATE position
SET next_offset = span.end_offset, updated_at = now()
FROM unnest($3::text[], $4::int[], $5::bigint[], $6::bigint[]) AS span (topic, partition, start_offset, end_offset)
WHERE cluster_id = $1 AND consumer_group = $2
  AND position.topic = span.topic AND position.partition = span.partition
  AND next_offset = span.start_offset
RETURNING 1
"""

BEGIN_SQL = """
INSERT INTO position (cluster_id, consumer_group, topic, partition, next_offset)
SELECT $1, $2, topic, partition, end_offset
FROM unnest($3::text[], $4::int[], $5::bigint[]) AS span (topic, partition, end_offset)
ON CONFLICT DO NOTHING
RETURNING 1
"""


async def advance(connection: Connection, group: Group, spans: Mapping[Partition, Span]) -> None:
    """Move the position of every partition of a batch from its start to its end.

    Raises:
        PositionMovedError: a position is not at its start; the caller has to roll back.
    """
    begun = sorted((topic, number, span.end) for (topic, number), span in spans.items() if span.start is None)
    moved = sorted(
        (topic, number, span.start, span.end) for (topic, number), span in spans.items() if span.start is not None
    )
    count = 0
    if moved:
        columns = list(zip(*moved, strict=True))
        count += len(await connection.fetch(ADVANCE_SQL, group.cluster_id, group.name, *columns))
    if begun:
        columns = list(zip(*begun, strict=True))
        count += len(await connection.fetch(BEGIN_SQL, group.cluster_id, group.name, *columns))
    if count != len(spans):
        raise PositionMovedError(f"{len(spans) - count} of {len(spans)} partitions were handled by another worker")


LIST_SQL = """
SELECT cluster_id, consumer_group, topic, partition, next_offset, updated_at
FROM position ORDER BY cluster_id, consumer_group, topic, partition
"""


async def every(pool: Pool) -> list[Any]:
    """All rows, of every cluster and group."""
    return await pool.fetch(LIST_SQL)


SET_SQL = """
INSERT INTO position (cluster_id, consumer_group, topic, partition, next_offset) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (cluster_id, consumer_group, topic, partition)
DO UPDATE SET next_offset = excluded.next_offset, updated_at = now()
"""


async def put(connection: Connection, group: Group, partition: Partition, offset: int) -> None:
    """Set a position: an operator's decision after records were lost to retention."""
    await connection.execute(SET_SQL, group.cluster_id, group.name, *partition, offset)
