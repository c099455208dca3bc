"""The API's connection pool, which no caller can exhaust.

Each caller gets a limited share of the connections, writes leave some connections to reads, and waiting is bounded.
Writes about one customer wait for the lock of its account, so more of them at once would only occupy connections.
"""

import asyncio
from collections import deque
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import asyncpg

from shared.postgres.pool import Pool, prepare, server_settings

WAIT_SECONDS: Final = 2.0
"""Seconds that a request waits for a connection before it is refused with `Retry-After`."""

MOST_WRITES_OF_CUSTOMER: Final = 2
"""Connections for writes about one customer: one that works, and the next one."""

MOST_WAITING: Final = 100
"""Number of requests that may wait for one share; further ones are refused at once."""

_MOST_WAITING_IN_ALL: Final = 1000


class BusyError(TimeoutError):
    """No connection is free for a caller: its share is used up, or the pool is."""


class Caller(NamedTuple):
    """The caller of a request: principal, the customer that the request is about, and whether it writes."""

    principal: str
    customer: str | None
    writes: bool
    is_customer: bool = False


CALLER: Final[ContextVar[Caller | None]] = ContextVar("caller", default=None)
"""The caller of the current request; None for the process's own work."""


@dataclass(slots=True)
class _Share:
    """A share of `free` places, given in the order of arrival; `users` have a place or wait for one."""

    free: int
    most_waiting: int
    users: int = 0
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque[asyncio.Future[None]])

    def take(self) -> bool:
        """Take a place; False if none is free or others wait."""
        if not self.free or self.waiting:
            return False
        self.free -= 1
        return True

    async def wait(self) -> None:
        """Wait for a place, and take it.

        Raises:
            BusyError: too many wait already.
        """
        if len(self.waiting) >= self.most_waiting:
            raise BusyError("too many requests wait for a connection")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append(turn)
        try:
            await turn
        except BaseException:
            if turn.cancelled():
                if turn in self.waiting:  # `leave` may have passed over it meanwhile
                    self.waiting.remove(turn)
            else:  # it got a place just as it was canceled
                self.leave()
            raise

    def leave(self) -> None:
        """Give the place to the request that has waited longest."""
        while self.waiting:
            turn = self.waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.free += 1


@dataclass(slots=True)
class Shares:
    """The shares of all callers in a pool of `size` connections."""

    size: int
    _shares: dict[tuple[str, str], _Share] = field(default_factory=dict[tuple[str, str], _Share])

    def take(self, caller: Caller) -> list[tuple[str, str]] | None:
        """Take a place in each share of the caller; returns keys for `leave`, or None if a share has no free place."""
        taken: list[tuple[str, str]] = []
        for key, places in self._wanted(caller):
            share = self._share(key, places)
            if not share.take():
                self._forget(key, share)
                self.leave(taken)
                return None
            taken.append(key)
        return taken

    async def wait(self, caller: Caller) -> list[tuple[str, str]]:
        """Wait for a place in each share of the caller, and take them; returns their keys for `leave`.

        Raises:
            BusyError: too many requests wait already.
        """
        taken: list[tuple[str, str]] = []
        try:
            for key, places in self._wanted(caller):
                share = self._share(key, places)
                try:
                    if not share.take():
                        await share.wait()
                except BaseException:
                    self._forget(key, share)
                    raise
                taken.append(key)
        except BaseException:
            self.leave(taken)
            raise
        return taken

    def _share(self, key: tuple[str, str], places: int) -> _Share:
        share = self._shares.get(key)
        if share is None:
            most_waiting = _MOST_WAITING_IN_ALL if key == _WRITES else MOST_WAITING
            share = self._shares[key] = _Share(places, most_waiting)
        share.users += 1
        return share

    def leave(self, taken: list[tuple[str, str]]) -> None:
        """Give the places in shares back."""
        for key in reversed(taken):
            share = self._shares[key]
            share.leave()
            self._forget(key, share)

    def _forget(self, key: tuple[str, str], share: _Share) -> None:
        share.users -= 1
        if not share.users:
            del self._shares[key]

    def _wanted(self, caller: Caller) -> list[tuple[tuple[str, str], int]]:
        """The caller's shares with their sizes, in the order of waiting: smallest first."""
        shares: list[tuple[tuple[str, str], int]] = []
        if caller.writes and caller.customer is not None:
            shares.append((("customer", caller.customer), min(MOST_WRITES_OF_CUSTOMER, self._most_writes)))
        own = MOST_WRITES_OF_CUSTOMER if caller.is_customer else self.size - 1
        shares.append((("principal", caller.principal), max(1, own)))
        if caller.writes:
            shares.append((_WRITES, self._most_writes))
        return shares

    @property
    def _most_writes(self) -> int:
        """Number of connections for writes: a quarter, at least one, is left to reads."""
        return max(1, self.size - max(1, self.size // 4))


_WRITES: Final = ("writes", "")


async def open_shared_pool(url: str, *, application: str, max_size: int) -> Pool:
    """A pool for an API, with the settings of `open_pool`.

    Raises:
        OSError, asyncpg.PostgresError: the database does not answer, or refuses.
    """
    return await SharedPool(url, application, max_size)


class _Session(asyncpg.Connection):
    """A session without a reset on release: the API changes settings and takes locks only within transactions.

    A reset would cost as much as a short statement.
    """

    __slots__ = ()

    def get_reset_query(self) -> str:
        """The statements that reset the session: none."""
        return ""


class SharedPool(asyncpg.Pool):
    """A pool that limits every caller to its share."""

    def __init__(self, url: str, application: str, max_size: int) -> None:
        super().__init__(
            url,
            min_size=1,
            max_size=max_size,
            max_queries=50_000,
            max_inactive_connection_lifetime=300.0,
            loop=None,
            connection_class=_Session,
            record_class=asyncpg.Record,
            init=prepare,
            server_settings=server_settings(application),
        )
        self._shares = Shares(max_size)
        self._taken: dict[Any, list[tuple[str, str]]] = {}

    async def _acquire(self, timeout: float | None) -> Any:  # noqa: ANN401, ASYNC109 as in asyncpg
        caller = CALLER.get()
        taken = [] if caller is None else self._shares.take(caller)
        bound = WAIT_SECONDS if taken is None or not self.get_idle_size() else None
        try:
            if bound is None:  # nothing to wait for; a timeout would cost more than the rest of this method
                connection = await super()._acquire(timeout)
            else:
                async with asyncio.timeout(bound):
                    if taken is None and caller is not None:
                        taken = await self._shares.wait(caller)
                    connection = await super()._acquire(timeout)
        except BaseException as error:
            self._shares.leave(taken or [])
            if type(error) is TimeoutError:
                raise BusyError(f"no connection was free for {WAIT_SECONDS:.0f} seconds") from None
            raise
        self._taken[connection] = taken or []
        return connection

    async def release(self, connection: Any, *, timeout: float | None = None) -> None:  # noqa: ANN401, ASYNC109 as in asyncpg
        """Release a connection; a second time has no effect."""
        session = getattr(connection, "_con", None)
        try:
            if session is None or connection not in self._taken:
                await super().release(connection, timeout=timeout)
                return
            # The same, but not in a task of its own, which costs a third of a short statement. A session in good order
            # is released at once; the end of any other is awaited, and a cancellation meanwhile terminates it.
            session._on_release()  # noqa: SLF001 see above
            await connection._holder.release(timeout)  # noqa: SLF001
        finally:
            self._shares.leave(self._taken.pop(connection, []))
