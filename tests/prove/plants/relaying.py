"""Bugs between the database and Kafka."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any, Final

from shared.contracts.envelope import Publication
from shared.messaging import outbox, relay
from shared.messaging.batch import Batch
from shared.messaging.delivery import Delivery
from shared.messaging.relay import _HEADERS
from tests.prove.plants.plant import Plant, die_here

REACHED: Final = "points: the outbox is on Kafka"
TOLD: Final = "points: every change of a balance has its event"
ORDER: Final = "points: first occurrences are in order per customer"

_AFTER_SQL: Final = "SELECT id, topic, key, value FROM outbox WHERE id > $1 ORDER BY id LIMIT 2000"
_CLEAN_SQL: Final = "DELETE FROM outbox WHERE id <= $1"


def after_the_last() -> None:
    """Poll `id > last` and delete published rows; ids commit out of order, since some commits are slow."""
    last = 0
    announce = outbox.announce

    async def poll(connection: Any, producer: Any, _limit: int = 0) -> int:
        nonlocal last
        async with connection.transaction():
            rows = await connection.fetch(_AFTER_SQL, last)
            await asyncio.gather(*[await _send(producer, row) for row in rows])
            if rows:
                last = rows[-1]["id"]
                await connection.execute(_CLEAN_SQL, last)
        return len(rows)

    async def slow(connection: Any, publications: Sequence[Publication]) -> None:
        await announce(connection, publications)
        await asyncio.sleep(random.uniform(0.0, 0.5))

    outbox.announce = slow
    relay.publish_chunk = poll


def forgotten_first() -> None:
    """Delete rows from the outbox before Kafka has them."""

    async def publish(connection: Any, producer: Any, limit: int = 2000) -> int:
        async with connection.transaction():
            rows = sorted(await connection.fetch(relay.CLAIM_SQL, limit), key=lambda row: row["id"])
        if rows:
            die_here("forgotten first", times=3)
        await asyncio.gather(*[await _send(producer, row) for row in rows])
        return len(rows)

    relay.publish_chunk = publish


def backwards() -> None:
    """Publish each chunk in descending order."""

    async def publish(connection: Any, producer: Any, limit: int = 2000) -> int:
        async with connection.transaction():
            rows = sorted(await connection.fetch(relay.CLAIM_SQL, limit), key=lambda row: -row["id"])
            await asyncio.gather(*[await _send(producer, row) for row in rows])
        return len(rows)

    relay.publish_chunk = publish


def without_outbox() -> None:
    """Publish events from memory after the commit, without an outbox."""
    remembered: list[Publication] = []
    transact = Delivery._transact

    async def remember(_connection: Any, publications: Sequence[Publication]) -> None:
        remembered.extend(publications)

    async def publish(self: Delivery, batch: Batch, **how: Any) -> None:
        await transact(self, batch, **how)
        if remembered:
            die_here("without outbox")
        await _publish(remembered)

    outbox.announce = remember
    Delivery._transact = publish


async def _publish(remembered: list[Publication]) -> None:
    """Publish the remembered events, with a producer that the first call creates."""
    global _producer  # noqa: PLW0603 - one per planted process
    if _producer is None:
        from services.points.settings import Settings  # noqa: PLC0415 - only processes of points have these settings

        _producer = Settings().broker().producer()
        await _producer.start()
    sent, remembered[:] = list(remembered), []
    acknowledgements = [await _producer.send(item.topic, item.value, key=item.key, headers=_HEADERS) for item in sent]
    await asyncio.gather(*acknowledgements)


_producer: Any = None


async def _send(producer: Any, row: Any) -> Any:
    return await producer.send(row["topic"], row["value"], key=row["key"], headers=_HEADERS)


PLANTS: Final = (
    Plant("the outbox is polled by id > last", after_the_last, (REACHED,)),
    Plant("rows are forgotten before Kafka has them", forgotten_first, (REACHED,)),
    Plant("the outbox is published out of order", backwards, (ORDER,)),
    Plant("published after the commit, without an outbox", without_outbox, (TOLD,)),
)
