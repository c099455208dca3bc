"""A FastStream subscriber as its documentation writes it, with one asyncpg transaction per event.

It has Pydantic models for messages, a consumer group, and a pool that opens at the start of the app. Acknowledgements
are the default: offsets are committed every few seconds, before or after the handler, so a crash may lose events.
`AckPolicy.ACK` would lose none, but costs a round trip to Kafka for each event.

`python -m tests.bench.peers.stream_app BOOTSTRAP DATABASE_URL`
"""

import asyncio
import json
import logging
import sys
from typing import Any

import asyncpg
from faststream import FastStream
from faststream.kafka import KafkaBroker, KafkaMessage
from pydantic import BaseModel
from uuid_utils.compat import uuid7

from tests.bench.peers import rows
from tests.bench.peers.rows import Bought


class Line(BaseModel):
    """A line of an order."""

    line_id: str
    sku: str
    quantity: Any
    amount: str
    category: str | None = None


class Purchase(BaseModel):
    """An order."""

    customer_id: str
    order_id: str
    currency: str
    total: str
    lines: list[Line]


class PurchaseCompleted(BaseModel):
    """The event."""

    id: str
    source: str
    time: str
    data: Purchase


async def decode(message: KafkaMessage) -> Any:
    """Decode JSON, which FastStream does by default only if the content type is `application/json`."""
    return json.loads(message.body)


def main(bootstrap: str, url: str) -> None:
    """Run the app as a separate consumer group until it is stopped."""
    broker = KafkaBroker(bootstrap, log_level=logging.DEBUG)  # below WARNING it logs only a line for each message
    app = FastStream(broker)
    pools: list[asyncpg.Pool] = []

    @app.on_startup
    async def open_database() -> None:
        pools.append(await asyncpg.create_pool(url, init=rows.prepare))

    @broker.subscriber(
        "shop.purchases",
        group_id=f"faststream-{uuid7().hex}",
        auto_offset_reset="earliest",
        decoder=decode,
        session_timeout_ms=6000,  # the embedded broker takes half of it to let a member in
        heartbeat_interval_ms=2000,
    )
    async def award(event: PurchaseCompleted) -> None:
        async with pools[0].acquire() as connection, connection.transaction():
            await rows.apply(connection, _bought(event))

    asyncio.run(app.run(log_level=logging.WARNING))


def _bought(event: PurchaseCompleted) -> Bought:
    data = event.data
    lines = [line.model_dump() for line in data.lines]
    return Bought(
        *(event.id, event.source, event.time, data.customer_id, data.order_id, data.currency, data.total), lines
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
