"""Applies events within a transaction: each new event once; refused events leave the inbox again."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog

from shared import telemetry
from shared.contracts.envelope import Event
from shared.contracts.outcomes import Refusal
from shared.contracts.reasons import Reason
from shared.messaging import deadline, inbox
from shared.postgres.pool import Connection, is_transient

Handle = Callable[[Connection, Sequence[Event], datetime], Awaitable[list[Refusal]]]
"""Applies new events of wanted types, in log order, in the given transaction; `now` is the current time.

Returns the events that its rules refused. Any exception makes the caller roll back and bisect the batch.
"""

MOST_REFUSED_IN_A_ROW: Final = 100
"""Number of consecutive customers the handler may fail for before its code counts as broken."""

_log = structlog.stdlib.get_logger(__name__)


class HandlerBrokenError(Exception):
    """The handler failed for too many customers in a row: its code is wrong, not the data."""


class HandlerFailedError(Exception):
    """The handler raised an exception, which is the cause of this one."""


class _UndoneError(Exception):
    """Rolls back a savepoint in which the handler succeeded."""


@dataclass(slots=True)
class Application:
    """Applies events; `careful` refuses those that the handler raises for, which it finds by bisection in savepoints.

    `streak` holds the customers that the handler failed for since it last succeeded, and `seconds` bounds its
    computation without a return to the event loop. With `rehearsed` the caller rolls back: failures are not logged.
    `repeats` counts the events that were applied before.
    """

    handle: Handle
    now: datetime
    streak: set[str]
    careful: bool = False
    rehearsed: bool = False
    seconds: float = deadline.FOLD_SECONDS
    repeats: int = 0

    async def apply(self, connection: Connection, events: Sequence[Event]) -> list[Refusal]:
        """Apply events; returns the refused ones.

        Raises:
            HandlerFailedError: the handler raised; with `careful`, only for several events together.
            HandlerBrokenError: see there.
        """
        refusals: list[Refusal] = []
        pending = list(events)
        while pending:
            claimed = await inbox.claim(connection, pending)
            self.repeats += claimed.applied
            refused = await self._handle(connection, claimed.fresh) if claimed.fresh else []
            released = await inbox.release(connection, [refusal.event for refusal in refused])
            refusals += refused
            # The repeat of a refused event is judged again, since the inbox does not hold it.
            pending = [event for event in claimed.repeats if inbox.digest(event) in released]
            self.repeats += len(claimed.repeats) - len(pending)
        return refusals

    def refuse(self, event: Event, error: str, cause: BaseException | None = None) -> Refusal:
        """The refusal of an event that the handler fails on.

        Raises:
            HandlerBrokenError: it failed for too many customers in a row.
        """
        self.streak.add(event.customer_id)
        if not self.rehearsed:
            names = {"id": event.id, "type": event.type, "correlation_id": event.correlation_id}
            # An error message may quote personal data, so only the dead letter has it, which can be erased.
            raised = {"failure": _type_of(error)} if cause is None else telemetry.trace(cause)
            _log.error("handler_refused", **names, **raised)
        if len(self.streak) > MOST_REFUSED_IN_A_ROW:
            raise HandlerBrokenError(
                f"the handler failed for more than {MOST_REFUSED_IN_A_ROW} customers in a row, last: {_type_of(error)}"
            ) from cause
        return Refusal(event, Reason.HANDLER_REFUSED, error)

    async def _handle(self, connection: Connection, events: list[Event]) -> list[Refusal]:
        if self.careful:
            return await self._sift(connection, events)
        try:
            with deadline.limit(self.seconds):
                refusals = await self.handle(connection, events, self.now)
        except Exception as error:
            if is_transient(error):
                raise
            raise HandlerFailedError from error
        self.streak.clear()
        return refusals

    async def _sift(self, connection: Connection, events: list[Event]) -> list[Refusal]:
        """Handle events without those that the handler raises for, which are refused.

        What is kept is handled by one call, after all parts that were handled only to find the culprits are undone.
        So the transaction never waits for locks of one part while it holds those of another, which could deadlock.
        """
        refused: list[Refusal] = []
        while kept := _without(events, refused):
            try:
                async with connection.transaction():
                    with deadline.limit(self.seconds):
                        refusals = await self.handle(connection, kept, self.now)
            except Exception as error:
                if is_transient(error):
                    raise
                culprits = await self._culprits(connection, kept, error)
                if not culprits:
                    raise HandlerFailedError from error
                refused += culprits
                continue
            if not refused:
                self.streak.clear()
            return refused + refusals
        return refused

    async def _culprits(self, connection: Connection, events: list[Event], error: Exception) -> list[Refusal]:
        """Refuse those of events for which the handler raised `error` that fail alone; the others may fail together."""
        if len(events) == 1:
            return [self.refuse(events[0], f"{type(error).__name__}: {error}", error)]
        refused: list[Refusal] = []
        for part in _halves(events):
            failure = await self._rehearse(connection, part)
            if failure is None:
                self.streak.clear()
            else:
                refused += await self._culprits(connection, part, failure)
        return refused

    async def _rehearse(self, connection: Connection, events: list[Event]) -> Exception | None:
        """The error that the handler raises for events; what it wrote and locked is undone."""
        try:
            async with connection.transaction():
                with deadline.limit(self.seconds):
                    await self.handle(connection, events, self.now)
                raise _UndoneError  # noqa: TRY301 leaving the savepoint with it rolls back
        except _UndoneError:
            return None
        except Exception as error:
            if is_transient(error):
                raise
            return error


def _without(events: list[Event], refused: Sequence[Refusal]) -> list[Event]:
    gone = {id(refusal.event) for refusal in refused}
    return [event for event in events if id(event) not in gone] if gone else events


def _halves(events: list[Event]) -> tuple[list[Event], list[Event]]:
    """Two parts, with half of the customers each, or with half of the events of a single one."""
    customers = list({event.customer_id: None for event in events})
    if len(customers) == 1:
        middle = len(events) // 2
        return events[:middle], events[middle:]
    first = set(customers[: len(customers) // 2])
    return (
        [event for event in events if event.customer_id in first],
        [event for event in events if event.customer_id not in first],
    )


def _type_of(error: str) -> str:
    """The type of an error in the form `type: message`."""
    return error.partition(":")[0]
