"""The job that sends webhooks: each endpoint has a task of its own, so a slow one delays no other."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import structlog

from services.notifications.channels.webhooks import Message, Webhooks
from services.notifications.handlers import webhooks
from services.notifications.rules import webhook
from services.notifications.rules.webhook import Endpoint, Outcome
from services.notifications.store import deliveries
from services.notifications.store.deliveries import Claimed
from shared import telemetry
from shared.postgres.pool import Pool, is_transient

LEASE: Final = timedelta(minutes=1)
"""How long a worker owns claimed deliveries, which is more than an attempt takes; if it dies, others take them over."""

AT_ONCE: Final = 4
"""Attempts to one endpoint that a worker makes at the same time."""

_LOOK_SECONDS: Final = 0.9
_STOP_SECONDS: Final = 5.0
_CONNECTIONS: Final = 2  # to the database, of all tasks

_log = structlog.stdlib.get_logger(__name__)


@dataclass(slots=True)
class Dispatcher:
    """Sends what is due, signed by secrets that follow from `secret`.

    `random` (0 to 1) spreads the retries. A crash between an attempt and its record repeats the webhook, with the same
    id.
    """

    channel: Webhooks
    secret: str | None
    random: Callable[[], float] = random.random
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    _tasks: dict[UUID, asyncio.Task[None]] = field(default_factory=dict[UUID, asyncio.Task[None]], init=False)
    _database: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_CONNECTIONS), init=False)
    _stopping: bool = field(default=False, init=False)

    async def run(self, pool: Pool, _now: datetime) -> None:
        """Give each endpoint with something due a task that goes on until nothing is; returns within a second.

        On cancellation the attempts at hand are finished and recorded, within five seconds.

        Raises:
            OSError, asyncpg.PostgresError: the database failed; claimed deliveries are due again after the lease.
        """
        if self.secret is None:
            return  # nothing can be signed, and no endpoint be added
        self._take_results()
        for endpoint_id in await deliveries.due(pool, self.clock()):
            if endpoint_id not in self._tasks:
                self._tasks[endpoint_id] = asyncio.create_task(self._drain(pool, self.secret, endpoint_id))
        if self._tasks:
            try:
                await asyncio.wait(self._tasks.values(), timeout=_LOOK_SECONDS)
            except asyncio.CancelledError:
                await self._stop()
                raise
        self._take_results()

    async def idle(self) -> None:
        """Wait until no task is left."""
        while self._tasks:
            await asyncio.wait(self._tasks.values())
            self._take_results()

    async def close(self) -> None:
        """Give up what is under way, and close all connections, for good."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await self.channel.close()

    def _take_results(self) -> None:
        """Forget the tasks that ended.

        Raises:
            Exception: what ended one of them.
        """
        ended = [self._tasks.pop(endpoint_id) for endpoint_id, task in [*self._tasks.items()] if task.done()]
        failures = [failure for task in ended if not task.cancelled() and (failure := task.exception()) is not None]
        for failure in failures:
            if not is_transient(failure):
                raise failure
        if failures:
            raise failures[0]

    async def _stop(self) -> None:
        self._stopping = True
        _, late = await asyncio.wait(self._tasks.values(), timeout=_STOP_SECONDS)
        for task in late:
            task.cancel()

    async def _drain(self, pool: Pool, secret: str, endpoint_id: UUID) -> None:
        while not self._stopping:
            async with self._database:
                claimed = await deliveries.claim(pool, endpoint_id, self.clock(), LEASE, AT_ONCE)
            if claimed is None:
                return
            endpoint, waiting = claimed
            outcomes = await asyncio.gather(*(self._attempt(endpoint, secret, each) for each in waiting))
            attempts = list(zip(waiting, outcomes, strict=True))
            async with self._database, pool.acquire() as connection, connection.transaction():
                await webhooks.record(connection, endpoint, attempts, self.clock(), self.random())

    async def _attempt(self, endpoint: Endpoint, secret: str, claimed: Claimed) -> Outcome:
        now = self.clock()
        secrets = [
            webhook.secret(secret, endpoint.id, generation) for generation in webhook.signing_generations(endpoint, now)
        ]
        try:
            outcome = await self.channel.send(Message(endpoint.url, claimed.webhook_id, claimed.payload, secrets))
        except Exception as error:  # noqa: BLE001 a webhook that cannot be sent must not stop the others
            _log.error("webhook_not_made", delivery_id=str(claimed.id), **telemetry.trace(error))
            outcome = Outcome(now, 0.0, error="it could not be made")
        telemetry.WEBHOOKS.labels("delivered" if outcome.is_success else "failed").inc()
        if not outcome.is_success:
            names = {"endpoint_id": str(endpoint.id), "delivery_id": str(claimed.id), "tries": claimed.tries}
            _log.warning("webhook_failed", status=outcome.status, error=outcome.error, **names)
        return outcome
