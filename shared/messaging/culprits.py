"""Finds the customers whose events make a batch fail repeatedly while the database is healthy.

The batch is rehearsed in parts, each in a transaction that is rolled back: first a few customers together, then each
customer of a failed part alone, with a much shorter timeout than a batch has. So other customers are cleared soon,
also when the culprit takes all the time that a statement may take.
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
from shared.messaging.application import Application, Handle, HandlerFailedError
from shared.postgres import health
from shared.postgres.pool import Connection, Pool, is_transient

MOST_TOGETHER: Final = 5
"""If more customers than this fail alone and none succeeds, the cause is not a customer."""

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
"""Customers whose events are refused, with the error for their dead letters."""


@dataclass(slots=True)
class Suspects:
    """Customers that made a recent batch fail: their events are rehearsed before the next batch is applied."""

    _seen: OrderedDict[str, tuple[float, int]] = field(default_factory=OrderedDict[str, tuple[float, int]])

    def add(self, customer: str, times: int) -> int:
        """Remember a customer whose events failed `times` more; returns the total number of failures."""
        times += self._seen.pop(customer, (0.0, 0))[1]
        self._seen[customer] = (_now(), times)
        if len(self._seen) > _MOST_REMEMBERED:
            self._seen.popitem(last=False)
        return times

    def clear(self, customer: str) -> None:
        """Forget a customer."""
        self._seen.pop(customer, None)

    def among(self, events: Sequence[Event]) -> list[str]:
        """The suspects among the customers of events."""
        while self._seen and next(iter(self._seen.values()))[0] < _now() - _REMEMBERED_SECONDS:
            self._seen.popitem(last=False)
        return sorted({event.customer_id for event in events} & self._seen.keys()) if self._seen else []


class _StaleError(Exception):
    """The batch was lost in a rebalance: the search is not needed any more."""


class _RehearsedError(Exception):
    """Rolls back a rehearsal that succeeded."""


@dataclass(slots=True)
class Search:
    """Finds the culprits of a batch, without any effect on the database."""

    pool: Pool
    handle: Handle
    clock: Callable[[], datetime]
    is_stale: Callable[[], bool]
    suspects: Suspects

    async def find(self, events: Sequence[Event]) -> Culprits:
        """The customers whose events fail alone, repeatedly and in the same way.

        A wait for another transaction's lock proves nothing, and neither do many failures without any success.
        """
        try:
            by_customer = _by_customer(events)
            deadline = _now() + _BUDGET_SECONDS
            failing = await self._failing(by_customer, deadline)
            return await self._confirm(by_customer, failing, deadline)
        except _StaleError:
            return {}

    async def recurring(self, events: Sequence[Event]) -> Culprits:
        """The suspects whose events fail again."""
        names = self.suspects.among(events)
        if not names:
            return {}
        by_customer = _by_customer(events)
        deadline = _now() + _AGAIN_SECONDS
        failed: dict[str, BaseException] = {}
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
                failed[customer] = failure
        if not failed or not await health.is_well(self.pool):
            return {}
        return {customer: _error(failure, self.suspects.add(customer, 1)) for customer, failure in failed.items()}

    async def _failing(self, by_customer: Mapping[str, list[Event]], deadline: float) -> Mapping[str, BaseException]:
        """The customers that fail alone, with the failure; stops at the deadline."""
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
        """The customers that fail alone repeatedly, each try with a share of the remaining time."""
        culprits: dict[str, str] = {}
        for place, (customer, failure) in enumerate(failing.items()):
            last: BaseException | None = failure
            times = 1
            while times < _TIMES_ALONE and last is not None and health.kind_of(last) == health.kind_of(failure):
                share = (deadline - _now()) / ((len(failing) - place) * (_TIMES_ALONE - 1))
                last = await self._rehearse(by_customer[customer], min(_MOST_SECONDS, max(_LEAST_SECONDS, share)))
                times += 1
            is_same = last is not None and health.kind_of(last) == health.kind_of(failure)
            if is_same and _is_proof(failure) and await health.is_well(self.pool):
                culprits[customer] = _error(failure, self.suspects.add(customer, times))
        return culprits

    async def _rehearse(self, events: Sequence[Event], seconds: float) -> BaseException | None:
        """The failure of applying the events within a time; None where they can be applied."""
        if self.is_stale():
            raise _StaleError
        application = Application(self.handle, self.clock(), set(), careful=True, rehearsed=True, seconds=seconds)
        try:
            async with self.pool.acquire() as connection, asyncio.timeout(2 * seconds), connection.transaction():
                await _shorten(connection, seconds)
                await application.apply(connection, events)
                raise _RehearsedError  # noqa: TRY301 leaving the transaction with it rolls back
        except (_RehearsedError, HandlerFailedError):
            return None  # what the handler raises for several events together is not a failure of this kind
        except Exception as error:
            if not is_transient(error):
                raise
            return error


SHORT_SQL = """
SELECT set_config('statement_timeout', $1, true), set_config('lock_timeout', $2, true)
"""


async def _shorten(connection: Connection, seconds: float) -> None:
    """Limit the statements of a transaction, and waits for locks to half of it, to tell them from long work."""
    await connection.fetchrow(SHORT_SQL, *(str(round(_MILLISECONDS * share)) for share in (seconds, seconds / 2)))


def _is_proof(error: BaseException) -> bool:
    """Whether the events can be the cause of a failure."""
    return health.kind_of(error) is not None and not health.waits_for_lock(error)


def _error(error: BaseException, times: int) -> str:
    return (
        f"{type(error).__name__}: {error} (this customer's events failed {times} times by themselves, "
        "while the database answered others)"
    )


def _by_customer(events: Sequence[Event]) -> dict[str, list[Event]]:
    customers: defaultdict[str, list[Event]] = defaultdict(list)
    for event in events:
        customers[event.customer_id].append(event)
    return customers


def _parts(customers: list[str]) -> list[list[str]]:
    """Split customers into about √n parts: one culprit costs two failures, whatever the number of customers."""
    size = max(1, math.isqrt(len(customers)))
    return [customers[start : start + size] for start in range(0, len(customers), size)]


def _now() -> float:
    return asyncio.get_running_loop().time()
