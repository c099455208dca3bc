"""The relay: publishes committed rows of the outbox to Kafka, in order, at least once.

One relay leads per database, by an advisory lock of the session that claims rows: a leader that loses its session
loses its claims with it.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Self

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from shared import telemetry
from shared.contracts.envelope import STRUCTURED
from shared.messaging.kafka import Broker
from shared.postgres.pool import Connection, Pool, is_transient

_LEADER_LOCK: Final = 0x57616661_0001
_CHUNK: Final = 2_000
_IDLE: Final = 0.1
_FOLLOW: Final = 1.0
_LONGEST_PAUSE: Final = 5.0
_HEADERS: Final = [("content-type", STRUCTURED)]

_log = structlog.stdlib.get_logger(__name__)


LEAD_SQL = "SELECT pg_try_advisory_lock($1)"

RESIGN_SQL = "SELECT pg_advisory_unlock($1)"


@dataclass(slots=True)
class Relay:
    """Publishes the outbox until stopped.

    Committers of this process set `woken`; rows of other processes wait for the next poll. `linger` is the minimum
    time in seconds from one claim to the next while rows are few, so that more rows share its cost.
    """

    pool: Pool
    new_producer: Callable[[], AIOKafkaProducer]
    linger: float = 0.05
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    healthy: bool = field(default=True, init=False)
    _stopped: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    @classmethod
    def to(cls, broker: Broker, pool: Pool) -> Self:
        """A relay of a database to a broker."""
        return cls(pool, broker.producer, broker.relay_linger_ms / 1000)

    async def run(self) -> None:
        """Lead or follow until stopped, whatever fails in between."""
        pause = _IDLE
        while not self._stopped.is_set():
            try:
                await self._session()
                pause = _IDLE
            except Exception as error:
                if not (is_transient(error) or isinstance(error, KafkaError)):
                    raise
                self.healthy = False
                telemetry.RELAY_FAILURES.inc()
                _log.warning("relay_is_retried", failure=type(error).__name__, error=str(error), pause=pause)
                await _wait(self._stopped, pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    def stop(self) -> None:
        """Stop after the chunk in flight."""
        self._stopped.set()
        self.woken.set()

    async def _session(self) -> None:
        async with self.pool.acquire() as connection:
            if await connection.fetchval(LEAD_SQL, _LEADER_LOCK):
                try:
                    await self._lead(connection)
                finally:
                    with suppress(Exception):  # the session may be gone, and the lock with it
                        await connection.fetchval(RESIGN_SQL, _LEADER_LOCK)
                return
        self.healthy = True
        # Not `woken`, which stays set while another relay leads, and would cause a busy loop.
        await _wait(self._stopped, _FOLLOW)

    async def _lead(self, connection: Connection) -> None:
        # A producer is unusable after OutOfOrderSequenceNumber or ProducerFenced, so each session has its own.
        producer = self.new_producer()
        try:
            clock = asyncio.get_running_loop().time
            await producer.start()
            while not self._stopped.is_set():
                self.woken.clear()
                begun = clock()
                published = await publish_chunk(connection, producer)
                self.healthy = True
                if published < _CHUNK:
                    await _wait(self._stopped, begun + self.linger - clock())
                    await _wait(self.woken, _IDLE)
        finally:
            with suppress(TimeoutError):  # `stop` hangs while all brokers are down
                await asyncio.wait_for(producer.stop(), timeout=5)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), timeout=seconds)


CLAIM_SQL = """
DELETE FROM outbox
WHERE id = ANY (ARRAY (SELECT id FROM outbox ORDER BY id LIMIT $1))
RETURNING id, topic, key, value
"""


async def publish_chunk(connection: Connection, producer: AIOKafkaProducer, limit: int = _CHUNK) -> int:
    """Claim the oldest rows, publish them, and commit after the acknowledgements; returns the number of rows.

    A failed send rolls the claim back: the rows stay, and all of them are sent again.
    """
    async with connection.transaction():
        rows: list[Any] = sorted(await connection.fetch(CLAIM_SQL, limit), key=lambda row: row["id"])
        acknowledgements = [
            await producer.send(row["topic"], row["value"], key=row["key"], headers=_HEADERS) for row in rows
        ]
        await asyncio.gather(*acknowledgements)
    for row in rows:
        telemetry.RELAY_PUBLISHED.labels(row["topic"]).inc()
    return len(rows)
