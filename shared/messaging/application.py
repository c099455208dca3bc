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


@dataclass(slots=True)
class Application:
    """Applies events; `careful` bisects those that the handler raises for, in savepoints.

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
            HandlerFailedError: the handler raised, and `careful` is off.
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
            return await self._bisect(connection, events)
        try:
            with deadline.limit(self.seconds):
                refusals = await self.handle(connection, events, self.now)
        except Exception as error:
            if is_transient(error):
                raise
            raise HandlerFailedError from error
        self.streak.clear()
        return refusals

    async def _bisect(self, connection: Connection, events: list[Event]) -> list[Refusal]:
        try:
            async with connection.transaction():
                with deadline.limit(self.seconds):
                    refusals = await self.handle(connection, events, self.now)
        except Exception as error:
            if is_transient(error):
                raise
            if len(events) > 1:
                middle = len(events) // 2
                first = await self._bisect(connection, events[:middle])
                return first + await self._bisect(connection, events[middle:])
            return [self.refuse(events[0], f"{type(error).__name__}: {error}", error)]
        self.streak.clear()
        return refusals


def _type_of(error: str) -> str:
    """The type of an error in the form `type: message`."""
    return error.partition(":")[0]
