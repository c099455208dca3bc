"""A producer of the simulated broker, like aiokafka's idempotent one: it sends in order, and stops at a failure."""

import asyncio
from collections.abc import Sequence

from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError, KafkaTimeoutError, OutOfOrderSequenceNumber

from shared.contracts.envelope import Headers
from tests.simulation.broker import Broker
from tests.support.headers import in_bytes

_Pending = tuple[str, bytes, bytes, Headers, "asyncio.Future[None]"]


class Producer:
    """Writes records in the background. A failure may follow a successful write."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._pending: list[_Pending] = []
        self._failed: set[TopicPartition] = set()
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._wanted = asyncio.Event()

    async def start(self) -> None:
        await self._broker.reach("start")
        self._task = asyncio.create_task(self._write(), name="sender")

    async def send(
        self, topic: str, value: bytes, *, key: bytes, headers: Sequence[tuple[str, bytes]]
    ) -> asyncio.Future[None]:
        if self._broker.fails("send"):
            raise KafkaTimeoutError
        acknowledged: asyncio.Future[None] = self._broker.loop.create_future()
        acknowledged.add_done_callback(_look)
        self._pending.append((topic, value, key, in_bytes(headers), acknowledged))
        self._wanted.set()
        return acknowledged

    async def stop(self) -> None:
        self._closing = True
        self._wanted.set()
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _write(self) -> None:
        while self._pending or not self._closing:
            await self._wanted.wait()
            self._wanted.clear()
            while self._pending:
                if not self._broker.up:
                    await asyncio.sleep(0.1)  # an idempotent producer tries for ever
                    continue
                await self._write_one(*self._pending.pop(0))

    async def _write_one(
        self,
        topic: str,
        value: bytes,
        key: bytes,
        headers: Headers,
        acknowledged: "asyncio.Future[None]",
    ) -> None:
        place = self._broker.place_of(topic, key)
        error: Exception | None = None
        if place in self._failed:
            error = OutOfOrderSequenceNumber()
        elif self._broker.fails("produce"):
            error = KafkaConnectionError("simulated: not written")
        else:
            kept = self._broker.append(topic, key, value, headers)
            self._broker.note(f"published {topic}/{kept.partition}@{kept.offset}")
            if self._broker.fails("acknowledge"):
                error = KafkaTimeoutError()
        if error is not None:
            self._failed.add(place)
        await asyncio.sleep(self._broker.chance.choice((0.0, 0.0, 0.001)))
        if not acknowledged.done():
            acknowledged.set_result(None) if error is None else acknowledged.set_exception(error)


def _look(acknowledged: "asyncio.Future[None]") -> None:
    """Retrieve the error, since the sender may be gone."""
    if not acknowledged.cancelled():
        acknowledged.exception()
