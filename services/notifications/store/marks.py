"""What became of messages after they were sent."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from services.notifications.rules.mark import Mark
from services.notifications.rules.message import Channel, Kind, Topic
from shared.contracts.envelope import Cause
from shared.postgres.pool import Connection, Pool


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that was made, as far as what became of it is concerned."""

    id: UUID
    customer_id: str
    kind: Kind
    topic: Topic
    channel: Channel
    trigger: str
    template: str
    template_version: int
    locale: str
    run_id: UUID | None
    sent_at: datetime | None
    cause: Cause


FIND_SQL = """
SELECT id, customer_id, kind, topic, channel, trigger, coalesce(template, trigger) AS template, template_version,
       locale, run_id, sent_at, correlation_id, causation_id, traceparent
FROM message
WHERE id = ANY($1::uuid[])
"""


async def find(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, Sent]:
    """Those of the messages that are there, by id."""
    return {
        row["id"]: Sent(
            id=row["id"],
            customer_id=row["customer_id"],
            kind=Kind(row["kind"]),
            topic=Topic(row["topic"]),
            channel=Channel(row["channel"]),
            trigger=row["trigger"],
            template=row["template"],
            template_version=row["template_version"],
            locale=row["locale"],
            run_id=row["run_id"],
            sent_at=row["sent_at"],
            cause=Cause(row["correlation_id"], row["causation_id"], row["traceparent"]),
        )
        for row in await connection.fetch(FIND_SQL, ids)
    }


ADD_SQL = """
INSERT INTO message_mark (message_id, mark, at)
SELECT new.message_id, mark, at
FROM unnest($1::uuid[], $2::text[], $3::timestamptz[]) WITH ORDINALITY AS new (message_id, mark, at, place)
JOIN message ON message.id = new.message_id
ORDER BY place
ON CONFLICT (message_id, mark) DO NOTHING
RETURNING message_id, mark
"""


async def add(connection: Connection, marks: Sequence[tuple[UUID, Mark, datetime]]) -> set[tuple[UUID, Mark]]:
    """Set marks of messages of locked customers; returns those that are new."""
    if not marks:
        return set()
    ids, words, times = zip(*marks, strict=True)
    return {(row["message_id"], Mark(row["mark"])) for row in await connection.fetch(ADD_SQL, ids, words, times)}


OF_SQL = """
SELECT message_id, mark, at FROM message_mark WHERE message_id = ANY($1::uuid[]) ORDER BY message_id, at, mark
"""


async def of(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, list[tuple[Mark, datetime]]]:
    """The marks of messages, in the order of time."""
    marks: dict[UUID, list[tuple[Mark, datetime]]] = {}
    for row in await connection.fetch(OF_SQL, ids):
        marks.setdefault(row["message_id"], []).append((Mark(row["mark"]), row["at"]))
    return marks


REPORT_SQL = """
INSERT INTO provider_report (provider, id, received_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING id
"""


async def is_new_report(connection: Connection, provider: str, report_id: str, now: datetime) -> bool:
    """Remember a report of a provider; False if it was handled before."""
    return await connection.fetchval(REPORT_SQL, provider, report_id, now) is not None


FORGET_SQL = """
DELETE FROM provider_report WHERE received_at < $1
"""


async def forget(pool: Pool, now: datetime) -> None:
    """Delete reports of a month ago: their signatures are too old to be accepted again."""
    await pool.execute(FORGET_SQL, now - timedelta(days=30))
