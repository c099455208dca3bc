"""Bugs between Kafka and the database."""

from collections.abc import Mapping
from typing import Any, Final

from services.points.rules.books import accruing
from services.points.rules.books.accruing import Happening
from services.points.rules.books.books import Books
from services.points.rules.books.trigger import Trigger
from services.points.rules.program import earning
from shared.messaging import inbox, positions
from shared.messaging.batch import Batch, Partition, Span
from shared.messaging.delivery import Delivery
from shared.messaging.inbox import Claimed
from shared.messaging.positions import Group
from tests.prove.plan import Fault
from tests.prove.plants.plant import Plant, die_here

TAKEN: Final = "points: inbox = accepted events of the log"
LINES: Final = "statements = the replay, line by line"
LETTERS: Final = "points: dead letters = malformed and refused records"


def position_first() -> None:
    """Commit the position in its own transaction, before the effects."""
    transact, advance = Delivery._transact, positions.advance

    async def early(self: Delivery, batch: Batch, **how: Any) -> None:
        async with self.pool.acquire() as connection, connection.transaction():
            await advance(connection, self.group, batch.spans)
        if batch.events:
            die_here("position first")
        await transact(self, batch, **how)

    positions.advance = _nothing
    Delivery._transact = early


def ack_at_fetch() -> None:
    """Move the position when a batch is fetched, before it is applied, as a client's automatic commits do."""
    advance, deliver = positions.advance, Delivery.deliver

    async def early(self: Delivery, batch: Batch, is_stale: Any) -> bool:
        async with self.pool.acquire() as connection, connection.transaction():
            await advance(connection, self.group, batch.spans)
        if batch.events:
            die_here("ack at fetch")
        return await deliver(self, batch, is_stale)

    positions.advance = _nothing
    Delivery.deliver = early


async def _nothing(_connection: Any, _group: Group, _spans: Mapping[Partition, Span]) -> None:
    return


_SET_SQL: Final = """
INSERT INTO position (cluster_id, consumer_group, topic, partition, next_offset) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (cluster_id, consumer_group, topic, partition) DO UPDATE SET next_offset = excluded.next_offset
"""


def no_compare_and_set() -> None:
    """Set the position to the batch's end, whatever it was before."""

    async def set_(connection: Any, group: Group, spans: Mapping[Partition, Span]) -> None:
        for (topic, number), span in sorted(spans.items()):
            await connection.execute(_SET_SQL, group.cluster_id, group.name, topic, number, span.end)

    positions.advance = set_


def no_dedupe() -> None:
    """Remember neither event ids nor natural keys, except those of orders."""
    claim = inbox.claim

    async def forgetful(connection: Any, events: Any) -> Claimed:
        await claim(connection, events)
        return Claimed(list(events), [], 0)

    def accrue(books: Books, event: Any) -> str | None:
        reported = earning.accruing(event)
        assert reported is not None
        happening = Happening(event.customer_id, *reported, event.time)
        accruing.award(books, happening, Trigger.of(event, books.now))
        return reported.origin

    inbox.claim = forgetful
    accruing.accrue = accrue


PLANTS: Final = (
    Plant("the position is committed first", position_first, (TAKEN,)),
    Plant("acknowledged at fetch, before the commit", ack_at_fetch, (TAKEN,)),
    Plant("no compare-and-set", no_compare_and_set, (LETTERS,), (Fault.RESET_AT_COMMIT,) * 5),
    Plant("no dedupe", no_dedupe, (LINES,)),
)
