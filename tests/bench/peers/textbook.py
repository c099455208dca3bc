"""A Faust agent as the tutorials write it, with one asyncpg transaction per event.

It uses Faust and asyncpg as their documentation shows them: records as models, Faust's own consumer and
acknowledgements, one event at a time.

`python -m tests.bench.peers.textbook BOOTSTRAP DATABASE_URL FOLDER`
"""

import sys
from typing import Any

import asyncpg
import faust
from uuid_utils.compat import uuid7

from tests.bench.peers import rows
from tests.bench.peers.rows import Bought


class Line(faust.Record):
    """A line of an order."""

    line_id: str
    sku: str
    quantity: Any
    amount: str
    category: str | None = None


class Purchase(faust.Record):
    """An order."""

    customer_id: str
    order_id: str
    currency: str
    total: str
    lines: list[Line]


class PurchaseCompleted(faust.Record, serializer="json"):
    """The event."""

    id: str
    source: str
    time: str
    data: Purchase


def main(bootstrap: str, url: str, folder: str) -> None:
    """Run the app as a separate consumer group until it is stopped; Faust keeps files in the folder."""
    app = faust.App(
        f"textbook-{uuid7().hex}",
        broker=f"kafka://{bootstrap}",
        web_enabled=False,
        datadir=folder,
        broker_session_timeout=6.0,  # the embedded broker takes half of it to let a member in
        broker_heartbeat_interval=2.0,
    )
    purchases = app.topic("shop.purchases", value_type=PurchaseCompleted)
    pools: list[asyncpg.Pool] = []

    @app.task
    async def open_database() -> None:
        pools.append(await asyncpg.create_pool(url, init=rows.prepare))

    @app.agent(purchases)
    async def award(stream: Any) -> None:
        async for event in stream:
            async with pools[0].acquire() as connection, connection.transaction():
                await rows.apply(connection, _bought(event))

    app.finalize()
    faust.Worker(app, loglevel="WARNING", redirect_stdouts=False).execute_from_commandline()


def _bought(event: PurchaseCompleted) -> Bought:
    data = event.data
    lines = [line.asdict() for line in data.lines]
    return Bought(
        *(event.id, event.source, event.time, data.customer_id, data.order_id, data.currency, data.total), lines
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
