"""Services on databases without a broker: the events of one are delivered to the next."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice

from deploy.sample.cloudevent import HEADERS, CloudEvent
from shared.contracts.envelope import Event, Record, decode
from shared.contracts.registry import TYPES
from shared.messaging.application import Handle
from shared.messaging.batch import Batch
from shared.messaging.delivery import Delivery
from shared.messaging.positions import Group
from shared.postgres.pool import Pool
from tests.support.headers import in_bytes

BATCH = 500


def events(published: Iterable[CloudEvent]) -> Iterator[Event]:
    """Decode a backend's events as a worker does."""
    for number, item in enumerate(published):
        record = Record(item.topic, 0, number, item.key, item.value(), in_bytes(HEADERS), datetime.now(UTC))
        event = decode(record, frozenset(TYPES))
        assert event is not None
        yield event


async def deliver(pool: Pool, handle: Handle, source: Iterable[Event]) -> None:
    """Deliver events in batches as a worker does; none may be refused."""
    delivery = Delivery(pool, Group("test", "wire"), handle)
    waiting = iter(source)
    while batch := list(islice(waiting, BATCH)):
        assert await delivery.deliver(Batch({}, batch, [], 0), lambda _: False)
    assert await pool.fetchval("SELECT count(*) FROM dead_letter") == 0


async def announced(pool: Pool, types: Sequence[str]) -> list[Event]:
    """Take a service's events of the given types from its outbox; others are dropped."""
    rows = await pool.fetch("WITH taken AS (DELETE FROM outbox RETURNING *) SELECT * FROM taken ORDER BY id")
    headers = in_bytes(HEADERS)
    records = [Record(row["topic"], 0, row["id"], row["key"], row["value"], headers, datetime.now(UTC)) for row in rows]
    decoded = (decode(record, frozenset(types)) for record in records)
    return [event for event in decoded if event is not None]
