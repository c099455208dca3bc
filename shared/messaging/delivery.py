"""The one loop: a batch becomes one transaction, whatever fails, and however often it comes.

Every failure has a type and a destination: malformed or refused by a rule → dead letter; an
exception of the handler → the batch is bisected until the culprit stands alone; transient →
again, in place; anything else leaves this module and ends the process.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import structlog

from shared import telemetry
from shared.contracts.envelope import Event
from shared.contracts.outcomes import Refusal
from shared.contracts.reasons import Reason
from shared.messaging import dead_letters, inbox, positions
from shared.messaging.batch import Batch, Malformation
from shared.messaging.positions import Group
from shared.postgres.pool import Connection, Pool, is_transient

Handle = Callable[[Connection, Sequence[Event], datetime], Awaitable[list[Refusal]]]
"""Applies events (new, of wanted types, in log order) in a transaction that it is given; `now` is the clock.

Returns what its rules refused; any exception makes the caller roll back and bisect.
"""

MOST_REFUSED_IN_A_ROW: Final = 100
_LONGEST_PAUSE: Final = 5.0
_FIRST_PAUSE: Final = 0.05

_log = structlog.stdlib.get_logger(__name__)


class HandlerBrokenError(Exception):
    """The handler failed on too many events in a row: the code is wrong, not the data."""


class _HandlerFailedError(Exception):
    """An exception left the handler; its cause tells which."""


def _clock() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class Delivery:
    """Delivers batches to a handler.

    `healthy` is False while a batch is being tried again, and `refused_in_a_row` counts the
    events on which the handler failed since it last succeeded.
    """

    pool: Pool
    group: Group
    handle: Handle
    clock: Callable[[], datetime] = _clock
    healthy: bool = field(default=True, init=False)
    refused_in_a_row: int = field(default=0, init=False)

    async def deliver(self, batch: Batch, is_stale: Callable[[Batch], bool]) -> bool:
        """Apply a batch once; False when it was found stale (lost in a rebalance) before it could be.

        Raises:
            PositionMovedError: somebody else handled a part of it; nothing was applied.
            HandlerBrokenError: see there; nothing was applied.
        """
        try:
            return await self._deliver(batch, is_stale)
        finally:
            self.healthy = True

    async def _deliver(self, batch: Batch, is_stale: Callable[[Batch], bool]) -> bool:
        careful = False
        pause = _FIRST_PAUSE
        while not is_stale(batch):
            try:
                await self._transact(batch, careful=careful)
            except _HandlerFailedError as error:
                _log.warning("batch_is_bisected", events=len(batch.events), exc_info=error.__cause__)
                careful = True
            except Exception as error:
                if not is_transient(error):
                    raise
                self.healthy = False
                telemetry.RETRIES.labels(type(error).__name__).inc()
                _log.warning("batch_is_retried", failure=type(error).__name__, error=str(error), pause=pause)
                await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 jitter, no secret
                pause = min(pause * 2, _LONGEST_PAUSE)
            else:
                return True
        return False

    async def _transact(self, batch: Batch, *, careful: bool) -> None:
        started = time.monotonic()
        streak = self.refused_in_a_row
        async with self.pool.acquire() as connection, connection.transaction():
            await positions.advance(connection, self.group, batch.spans)
            application = _Application(self.handle, self.clock(), careful, streak)
            refusals = await application.apply(connection, batch.events)
            refused = [*batch.malformed, *map(dead_letters.from_refusal, refusals)]
            await dead_letters.write(connection, refused)
        self.refused_in_a_row = application.streak
        _observe(batch, refused, application.known, time.monotonic() - started)

    async def replay(self, events: Sequence[Event], connection: Connection) -> list[Refusal]:
        """Apply events that were dead letters, in the caller's transaction; returns what is refused again."""
        application = _Application(self.handle, self.clock(), careful=True, streak=0)
        return await application.apply(connection, events)


def _observe(batch: Batch, refused: Sequence[Malformation], known: int, seconds: float) -> None:
    telemetry.BATCH_SIZE.observe(batch.size)
    telemetry.HANDLER_SECONDS.observe(seconds)
    dead_letters.count(refused)
    if known:
        telemetry.DUPLICATES.labels("inbox").inc(known)
    now = time.time()
    oldest: dict[str, datetime] = {}
    for event in batch.events:
        record = event.record
        if record.timestamp < oldest.setdefault(record.topic, record.timestamp):
            oldest[record.topic] = record.timestamp
    for topic, since in oldest.items():
        telemetry.COMMIT_DELAY.labels(topic).observe(max(0.0, now - since.timestamp()))


@dataclass(slots=True)
class _Application:
    """Applies events in a transaction: each new one once, the refused ones leaving no trace in the inbox."""

    handle: Handle
    now: datetime
    careful: bool
    streak: int
    known: int = 0

    async def apply(self, connection: Connection, events: Sequence[Event]) -> list[Refusal]:
        refusals: list[Refusal] = []
        pending = list(events)
        while pending:
            claimed = await inbox.claim(connection, pending)
            self.known += claimed.known
            found = await self._handle(connection, claimed.fresh) if claimed.fresh else []
            released = await inbox.release(connection, [one.event for one in found])
            refusals += found
            # A repeat of an event that was refused is not a repeat: nothing took its name.
            pending = [event for event in claimed.repeats if inbox.digest(event) in released]
            self.known += len(claimed.repeats) - len(pending)
        return refusals

    async def _handle(self, connection: Connection, events: list[Event]) -> list[Refusal]:
        if self.careful:
            return await self._bisect(connection, events)
        try:
            refusals = await self.handle(connection, events, self.now)
        except Exception as error:
            if is_transient(error):
                raise
            raise _HandlerFailedError from error
        self.streak = 0
        return refusals

    async def _bisect(self, connection: Connection, events: list[Event]) -> list[Refusal]:
        try:
            async with connection.transaction():
                refusals = await self.handle(connection, events, self.now)
        except Exception as error:
            if is_transient(error):
                raise
            if len(events) > 1:
                middle = len(events) // 2
                first = await self._bisect(connection, events[:middle])
                return first + await self._bisect(connection, events[middle:])
            return [self._refuse(events[0], error)]
        self.streak = 0
        return refusals

    def _refuse(self, event: Event, error: Exception) -> Refusal:
        self.streak += 1
        _log.error("handler_refused", id=event.id, type=event.type, correlation_id=event.correlation_id, exc_info=error)
        if self.streak > MOST_REFUSED_IN_A_ROW:
            raise HandlerBrokenError(
                f"the handler failed on more than {MOST_REFUSED_IN_A_ROW} events in a row, last: {error!r}"
            ) from error
        return Refusal(event, Reason.HANDLER_REFUSED, f"{type(error).__name__}: {error}")
