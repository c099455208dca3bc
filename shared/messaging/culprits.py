"""Which customer's events make a batch fail again and again, while the database itself is well.

The batch is rehearsed in parts, each in a transaction that is rolled back: a few customers at a time, then the
customers of a part that failed one by one, with much less time than a batch has. So neighbors are found innocent
soon, also when the culprit takes all the time that a statement may take.
"""

import asyncio
import math
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import structlog

from shared.contracts.envelope import Event
from shared.messaging.application import Application, Handle
from shared.postgres import health
from shared.postgres.pool import Connection, Pool, is_transient

MOST_TOGETHER: Final = 5
"""Where more customers than this fail alone, and none succeeds, the cause is none of them."""

_TIMES_ALONE: Final = 3
_BUDGET_SECONDS: Final = 60.0
_AGAIN_SECONDS: Final = 5.0
_LEAST_SECONDS: Final = 1.0
_LEAST_AGAIN_SECONDS: Final = 0.5
_MOST_SECONDS: Final = 5.0
_REMEMBERED_SECONDS: Final = 600.0
_MOST_REMEMBERED: Final = 10_000
_MILLISECONDS: Final = 1000

_log = structlog.stdlib.get_logger(__name__)

Culprits = Mapping[str, str]
"""The customers whose events are to be refused, with the error that their dead letters tell."""


@dataclass(slots=True)
class Suspects:
    """Customers who made a batch fail not long ago: their events are rehearsed before the next one is applied."""

    _known: OrderedDict[str, tuple[float, int]] = field(default_factory=OrderedDict[str, tuple[float, int]])

    def add(self, customer: str, times: int) -> int:
        """Remember a customer for a while, whose events failed so many times more; returns how many in all."""
        times += self._known.pop(customer, (0.0, 0))[1]
        self._known[customer] = (_now(), times)
        if len(self._known) > _MOST_REMEMBERED:
            self._known.popitem(last=False)
        return times

    def clear(self, customer: str) -> None:
        """Forget a customer whose events succeeded."""
        self._known.pop(customer, None)

    def among(self, events: Sequence[Event]) -> list[str]:
        """Those who have one of the events."""
        while self._known and next(iter(self._known.values()))[0] < _now() - _REMEMBERED_SECONDS:
            self._known.popitem(last=False)
        return sorted({event.customer_id for event in events} & self._known.keys()) if self._known else []


class _StaleError(Exception):
    """The batch was lost in a rebalance: nobody has to know any more."""


class _RehearsedError(Exception):
    """The end of a rehearsal that succeeded, which rolls it back."""


@dataclass(slots=True)
class Search:
    """Finds the culprits among the events of a batch; nothing that it does has an effect."""

    pool: Pool
    handle: Handle
    clock: Callable[[], datetime]
    is_stale: Callable[[], bool]
    suspects: Suspects

    async def find(self, events: Sequence[Event]) -> Culprits:
        """Those who fail alone, several times alike.

        A wait for somebody else's lock proves nothing about who waits; nor do the failures of many where none succeeds.
        """
        try:
            by_customer = _by_customer(events)
            deadline = _now() + _BUDGET_SECONDS
            failing = await self._failing(by_customer, deadline)
            return await self._confirm(by_customer, failing, deadline)
        except _StaleError:
            return {}

    async def known(self, events: Sequence[Event]) -> Culprits:
        """Those of the known suspects whose events fail again."""
        names = self.suspects.among(events)
        if not names:
            return {}
        by_customer = _by_customer(events)
        deadline = _now() + _AGAIN_SECONDS
        found: dict[str, BaseException] = {}
        for place, customer in enumerate(names):
            share = (deadline - _now()) / (len(names) - place)
            seconds = min(_LEAST_SECONDS, max(_LEAST_AGAIN_SECONDS, share))
            try:
                failure = await self._rehearse(by_customer[customer], seconds)
            except _StaleError:
                return {}
            if failure is None:
                self.suspects.clear(customer)
            elif _is_proof(failure):
                found[customer] = failure
        if not found or not await health.is_well(self.pool):
            return {}
        return {customer: _told(failure, self.suspects.add(customer, 1)) for customer, failure in found.items()}

    async def _failing(self, by_customer: Mapping[str, list[Event]], deadline: float) -> Mapping[str, BaseException]:
        """Those who fail alone, with the failure; stops when the time is up."""
        failing: dict[str, BaseException] = {}
        proven = False
        for part in _parts(list(by_customer)):
            if _now() > deadline:
                break
            together = [event for customer in part for event in by_customer[customer]]
            if len(part) > 1 and await self._rehearse(together, _LEAST_SECONDS) is None:
                proven = True
                continue
            for customer in part:
                failure = await self._rehearse(by_customer[customer], _LEAST_SECONDS)
                if failure is None:
                    proven = True
                    continue
                failing[customer] = failure
                if len(failing) > MOST_TOGETHER and not proven:
                    _log.warning("culprits_not_found", customers=len(by_customer), failure=type(failure).__name__)
                    return {}
        return failing

    async def _confirm(
        self, by_customer: Mapping[str, list[Event]], failing: Mapping[str, BaseException], deadline: float
    ) -> Culprits:
        """Those who fail alone again and again, each time with a share of the time that is left."""
        found: dict[str, str] = {}
        for place, (customer, failure) in enumerate(failing.items()):
            last: BaseException | None = failure
            times = 1
            while times < _TIMES_ALONE and last is not None and health.kind_of(last) == health.kind_of(failure):
                share = (deadline - _now()) / ((len(failing) - place) * (_TIMES_ALONE - 1))
                last = await self._rehearse(by_customer[customer], min(_MOST_SECONDS, max(_LEAST_SECONDS, share)))
                times += 1
            is_alike = last is not None and health.kind_of(last) == health.kind_of(failure)
            if is_alike and _is_proof(failure) and await health.is_well(self.pool):
                found[customer] = _told(failure, self.suspects.add(customer, times))
        return found

    async def _rehearse(self, events: Sequence[Event], seconds: float) -> BaseException | None:
        """Why the events cannot be applied within so many seconds; None where they can."""
        if self.is_stale():
            raise _StaleError
        application = Application(self.handle, self.clock(), set(), careful=True, rehearsed=True, seconds=seconds)
        try:
            async with self.pool.acquire() as connection, asyncio.timeout(2 * seconds), connection.transaction():
                await _shorten(connection, seconds)
                await application.apply(connection, events)
                raise _RehearsedError  # noqa: TRY301 it leaves the transaction, which nothing else rolls back
        except _RehearsedError:
            return None
        except Exception as error:
            if not is_transient(error):
                raise
            return error


SHORT_SQL = """
SELECT set_config('statement_timeout', $1, true), set_config('lock_timeout', $2, true)
"""


async def _shorten(connection: Connection, seconds: float) -> None:
    """Bound the statements of a transaction: half of that is for a lock, so a wait is not mistaken for long work."""
    await connection.fetchrow(SHORT_SQL, *(str(round(_MILLISECONDS * share)) for share in (seconds, seconds / 2)))


def _is_proof(error: BaseException) -> bool:
    """Whether a failure can be the fault of the events that were applied."""
    return health.kind_of(error) is not None and not health.waits_for_lock(error)


def _told(error: BaseException, times: int) -> str:
    return (
        f"{type(error).__name__}: {error} (this customer's events failed {times} times by themselves, "
        "while the database answered others)"
    )


def _by_customer(events: Sequence[Event]) -> dict[str, list[Event]]:
    found: defaultdict[str, list[Event]] = defaultdict(list)
    for event in events:
        found[event.customer_id].append(event)
    return found


def _parts(customers: list[str]) -> list[list[str]]:
    """As many parts as each has customers: one culprit costs two failures, however many customers there are."""
    size = max(1, math.isqrt(len(customers)))
    return [customers[start : start + size] for start in range(0, len(customers), size)]


def _now() -> float:
    return asyncio.get_running_loop().time()
