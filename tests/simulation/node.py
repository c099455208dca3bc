"""A worker as a process of its own: the product's parts, put together as its own `Worker` does, without Faust."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import asyncpg
from aiokafka.errors import KafkaError

from shared.contracts.envelope import Event
from shared.contracts.outcomes import Refusal
from shared.messaging import kafka, worker
from shared.messaging.application import Handle
from shared.messaging.batch import Batch, Here
from shared.messaging.culprits import Suspects
from shared.messaging.delivery import Delivery
from shared.messaging.inflow import Inflow
from shared.messaging.kafka import Broker
from shared.messaging.positions import Group
from shared.messaging.relay import Relay
from shared.messaging.worker import WorkerSpec
from shared.postgres.pool import Connection, open_pool
from tests.simulation.faults import Poison

_LANES: Final = 2
_REPORT_SECONDS: Final = 5.0
_STOP_SECONDS: Final = 8.0


@dataclass(frozen=True)
class Service:
    """A service: its worker's specification, and its database."""

    spec: WorkerSpec
    url: str

    @property
    def name(self) -> str:
        return self.spec.service


class StartFailedError(Exception):
    """Not even the start succeeded: the supervisor tries again."""


@dataclass(frozen=True)
class Worker:
    """A worker of a service, on the broker that knows it by `client_id`."""

    service: Service
    broker: Broker
    batch_size: int
    clock: Callable[[], datetime]
    stopped: asyncio.Event

    async def run(self) -> None:
        """Work until stopped.

        Raises:
            StartFailedError: see there.
            Exception: what would end the process.
        """
        spec = self.service.spec
        try:
            pool = await open_pool(self.service.url, application=self.broker.client_id.partition(".")[0], max_size=4)
            group = Group(await kafka.cluster_id(self.broker), spec.group)
            inflow = Inflow(self.broker, pool, group, Here(spec.wanted), self.batch_size)
            await inflow.start()
        except (KafkaError, OSError, asyncpg.PostgresError) as error:
            raise StartFailedError from error
        relay = Relay.to(self.broker, pool)
        lanes: list[asyncio.Queue[Batch]] = [asyncio.Queue(maxsize=1) for _ in range(_LANES)]
        suspects = Suspects()
        work: dict[str, Awaitable[None]] = {
            "relay": relay.run(),
            "inflow": inflow.run(spec.topics, *(lane.put for lane in lanes)),
            "report": _report(inflow),
        }
        for number, lane in enumerate(lanes):
            delivery = Delivery(pool, group, counting(spec.handle), self.clock, suspects)
            work[f"agent {number}"] = _apply(lane, inflow, delivery, relay)
        parts = [asyncio.create_task(one, name=name) for name, one in work.items()]
        stopping = asyncio.create_task(self.stopped.wait(), name="stopping")
        await asyncio.wait([stopping, *parts], return_when=asyncio.FIRST_COMPLETED)
        for part in parts:
            if part.done():
                part.result()
        await _shut_down(inflow, relay, parts)
        pool.terminate()


async def _apply(batches: asyncio.Queue[Batch], inflow: Inflow, delivery: Delivery, relay: Relay) -> None:
    while True:
        await worker._apply(await batches.get(), inflow, delivery, relay)


async def _report(inflow: Inflow) -> None:
    while True:
        await asyncio.sleep(_REPORT_SECONDS)
        await inflow.report()


async def _shut_down(inflow: Inflow, relay: Relay, parts: Sequence[asyncio.Task[Any]]) -> None:
    """As `Worker` does it on a SIGTERM."""
    inflow.stopping = True
    relay.stop()
    inflow.rewind()
    await inflow.idle()
    await asyncio.wait(parts[:2], timeout=_STOP_SECONDS)
    for part in parts:
        part.cancel()
    await inflow.close()
    await asyncio.wait(parts)


_RAISE: Final = "DO $$ BEGIN RAISE EXCEPTION 'simulated' USING ERRCODE = '{}'; END $$"


def poisoned(handle: Handle, poison: Poison) -> Handle:
    """The handler, which fails after its work where it has an event of the customer."""

    async def failing(connection: Connection, events: Sequence[Event], now: datetime) -> list[Refusal]:
        refusals = await handle(connection, events, now)
        if any(one.customer_id == poison.customer for one in events):
            if poison.kind == "raises":
                raise ValueError(poison.customer)
            if poison.kind == "session":
                connection.terminate()
            await connection.execute(_RAISE.format(poison.kind))
        return refusals

    return failing


EFFECT_COLUMNS: Final = ("topic", "partition", "offset", "id", "source", "customer_id")


def counting(handle: Handle) -> Handle:
    """The handler, and a row for each event that it accepted, in the same transaction."""

    async def counted(connection: Connection, events: Sequence[Event], now: datetime) -> list[Refusal]:
        refusals = await handle(connection, events, now)
        refused = [one.event for one in refusals]
        rows = [
            (one.record.topic, one.record.partition, one.record.offset, one.id, one.source, one.customer_id)
            for one in events
            if not any(one is other for other in refused)
        ]
        await connection.copy_records_to_table("effect", records=rows, columns=EFFECT_COLUMNS)
        return refusals

    return counted
