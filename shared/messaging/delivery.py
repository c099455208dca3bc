"""Delivers each batch in one transaction, whatever fails, and applies it once, however often it is read.

Every failure has a type and a destination. Malformed or refused by a rule: a dead letter. An exception of the
handler: the batch is bisected to the event that causes it, or applied in halves if several do together. Transient: the
batch is retried in place; if it keeps failing while the database is healthy, without the customer that causes it.
Anything else ends the process.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import structlog

from shared import telemetry
from shared.contracts.envelope import Event
from shared.contracts.outcomes import Refusal
from shared.messaging import dead_letters, positions
from shared.messaging.application import Application, Handle, HandlerFailedError
from shared.messaging.batch import Batch, Malformation
from shared.messaging.culprits import Culprits, Search, Suspects
from shared.messaging.positions import Group
from shared.postgres import health
from shared.postgres.pool import Connection, Pool, is_transient

HANDLER_SECONDS: Final = 60.0
"""Timeout of a batch in seconds, for all its statements and computations."""

_LONGEST_PAUSE: Final = 5.0
_FIRST_PAUSE: Final = 0.05
_SAME_FAILURES: Final = 3
_SAME_SLOW_FAILURES: Final = 2
_SLOW_SECONDS: Final = 20.0

_log = structlog.stdlib.get_logger(__name__)


def _clock() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class Delivery:
    """Delivers batches to a handler.

    `healthy` is False while a batch is retried. All deliveries of a worker share `suspects`.
    """

    pool: Pool
    group: Group
    handle: Handle
    clock: Callable[[], datetime] = _clock
    suspects: Suspects = field(default_factory=Suspects)
    healthy: bool = field(default=True, init=False)
    _streak: set[str] = field(default_factory=set[str], init=False)

    @property
    def refused_in_a_row(self) -> int:
        """Number of customers that the handler failed for since it last succeeded."""
        return len(self._streak)

    async def deliver(self, batch: Batch, is_stale: Callable[[Batch], bool]) -> bool:
        """Apply a batch once; returns False if it became stale (lost in a rebalance) before.

        Raises:
            PositionMovedError: another worker handled a part of it; nothing was applied.
            HandlerBrokenError: see there; nothing was applied.
        """
        try:
            return await self._deliver(batch, is_stale)
        finally:
            self.healthy = True

    async def _deliver(self, batch: Batch, is_stale: Callable[[Batch], bool]) -> bool:
        search = Search(self.pool, self.handle, self.clock, lambda: is_stale(batch), self.suspects)
        culprits = dict(await search.recurring(batch.events))
        careful = False
        pause = _FIRST_PAUSE
        failures = _Failures()
        while not is_stale(batch):
            started = asyncio.get_running_loop().time()
            try:
                await self._transact(batch, careful=careful, culprits=culprits)
            except HandlerFailedError as error:
                if careful and (halves := batch.halves()):
                    # Some events fail only together. One transaction for both halves would lock out of order.
                    return await self._deliver_apart(halves, is_stale)
                _log.warning("batch_is_bisected", events=len(batch.events), **telemetry.trace(error.__cause__ or error))
                careful = True
                continue
            except Exception as error:
                if not is_transient(error):
                    raise
                self._observe_failure(error, pause)
                failures.add(error, asyncio.get_running_loop().time() - started)
            else:
                return True
            if failures.are_suspicious and await health.is_well(self.pool):
                newly_found = await search.find([event for event in batch.events if event.customer_id not in culprits])
                _log.warning("culprits_searched", events=len(batch.events), found=len(newly_found))
                if not newly_found and failures.searched and (halves := batch.halves()):
                    # No customer fails alone: the batch as a whole is too large.
                    return await self._deliver_apart(halves, is_stale)
                culprits |= newly_found
                failures.start_over(newly_found)
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 jitter, no secret
            pause = min(pause * 2, _LONGEST_PAUSE)
        return False

    async def _deliver_apart(self, halves: tuple[Batch, Batch], is_stale: Callable[[Batch], bool]) -> bool:
        """Deliver the halves of a batch, each in a transaction of its own."""
        return await self._deliver(halves[0], is_stale) and await self._deliver(halves[1], is_stale)

    async def _transact(self, batch: Batch, *, careful: bool, culprits: Culprits) -> None:
        started = time.monotonic()
        async with self.pool.acquire() as connection, connection.transaction():
            await positions.advance(connection, self.group, batch.spans)
            application = Application(self.handle, self.clock(), set(self._streak), careful)
            refused_events = [event for event in batch.events if event.customer_id in culprits] if culprits else []
            others = (
                [event for event in batch.events if event.customer_id not in culprits]
                if refused_events
                else batch.events
            )
            async with asyncio.timeout(HANDLER_SECONDS):
                refusals = await application.apply(connection, others)
            refusals += [application.refuse(event, culprits[event.customer_id]) for event in refused_events]
            refused = [*batch.malformed, *map(dead_letters.from_refusal, refusals)]
            await dead_letters.write(connection, refused)
        self._streak = application.streak
        _observe(batch, refused, application.repeats, time.monotonic() - started)

    async def replay(self, events: Sequence[Event], connection: Connection) -> list[Refusal]:
        """Apply events of dead letters in the caller's transaction; returns those that are refused again.

        Raises:
            HandlerFailedError: the handler raised for several of them together.
        """
        application = Application(self.handle, self.clock(), set(), careful=True)
        return await application.apply(connection, events)

    def _observe_failure(self, error: Exception, pause: float) -> None:
        self.healthy = False
        telemetry.RETRIES.labels(type(error).__name__).inc()
        _log.warning("batch_is_retried", failure=type(error).__name__, error=str(error), pause=pause)


@dataclass(slots=True)
class _Failures:
    """Counts the transient failures of a batch by kind."""

    searched: bool = False
    _enough: int = _SAME_FAILURES
    _counts: Counter[str] = field(default_factory=Counter[str])
    _seconds: Counter[str] = field(default_factory=Counter[str])

    def add(self, error: Exception, seconds: float) -> None:
        """Count a failure of a transaction that took `seconds`."""
        kind = health.kind_of(error)
        if kind is not None:
            self._counts[kind] += 1
            self._seconds[kind] += round(seconds)

    @property
    def are_suspicious(self) -> bool:
        """Whether it failed in the same way so often (less often if slowly) that its events may be the cause."""
        return any(
            count >= self._enough or (count >= _SAME_SLOW_FAILURES and self._seconds[kind] >= _SLOW_SECONDS)
            for kind, count in self._counts.items()
        )

    def start_over(self, culprits: Culprits) -> None:
        """Start again without the culprits that were found; there may be more."""
        self.searched = True
        self._enough = 1 if culprits else _SAME_FAILURES
        self._counts.clear()
        self._seconds.clear()


def _observe(batch: Batch, refused: Sequence[Malformation], repeats: int, seconds: float) -> None:
    telemetry.BATCH_SIZE.observe(batch.size)
    telemetry.HANDLER_SECONDS.observe(seconds)
    dead_letters.count(refused)
    if repeats:
        telemetry.DUPLICATES.labels("inbox").inc(repeats)
    now = time.time()
    oldest: dict[str, datetime] = {}
    for event in batch.events:
        record = event.record
        if record.timestamp < oldest.setdefault(record.topic, record.timestamp):
            oldest[record.topic] = record.timestamp
    for topic, since in oldest.items():
        telemetry.COMMIT_DELAY.labels(topic).observe(max(0.0, now - since.timestamp()))
