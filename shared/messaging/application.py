"""Events applied within a transaction: each new one once, and what is refused leaves no trace in the inbox."""

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
"""Applies events (new, of wanted types, in log order) in a transaction that it is given; `now` is the clock.

Returns what its rules refused; any exception makes the caller roll back and bisect.
"""

MOST_REFUSED_IN_A_ROW: Final = 100
"""Customers whose events the handler may fail on, one after the other, before the code counts as broken."""

_log = structlog.stdlib.get_logger(__name__)


class HandlerBrokenError(Exception):
    """The handler failed for too many customers in a row: the code is wrong, not the data."""


class HandlerFailedError(Exception):
    """An exception left the handler; its cause tells which."""


@dataclass(slots=True)
class Application:
    """Applies events; `careful` bisects those that the handler raises for, in savepoints.

    `streak` are the customers for whom the handler failed since it last succeeded; `seconds` bound what it computes
    in one go. What is `rehearsed` will be rolled back: it is not logged.
    """

    handle: Handle
    now: datetime
    streak: set[str]
    careful: bool = False
    rehearsed: bool = False
    seconds: float = deadline.FOLD_SECONDS
    known: int = 0

    async def apply(self, connection: Connection, events: Sequence[Event]) -> list[Refusal]:
        """Apply events, and return what was refused.

        Raises:
            HandlerFailedError: an exception left the handler; nothing is bisected unless `careful`.
            HandlerBrokenError: see there.
        """
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

    def refuse(self, event: Event, error: str, cause: BaseException | None = None) -> Refusal:
        """The dead letter of an event that the handler fails on.

        Raises:
            HandlerBrokenError: it failed for too many customers in a row.
        """
        self.streak.add(event.customer_id)
        if not self.rehearsed:
            names = {"id": event.id, "type": event.type, "correlation_id": event.correlation_id}
            # What an error says may quote personal data: it goes into the dead letter, which can be erased.
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
    """The type of an error that is written as `type: what it says`."""
    return error.partition(":")[0]
