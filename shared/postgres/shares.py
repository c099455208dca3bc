"""A pool of connections that no caller takes whole: the API's.

Every caller has a share of the connections, writes leave some to reads, and nobody waits for long. Writes of one
customer wait for each other anyway, for its row: more of them at once would only keep connections busy with waiting.
"""

import asyncio
from collections import deque
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import asyncpg

from shared.postgres.pool import Pool, prepare, server_settings

WAIT_SECONDS: Final = 2.0
"""How long a request waits for a connection before it is told to come again."""

MOST_WRITES_OF_CUSTOMER: Final = 2
"""One at work, and one that comes next."""

MOST_WAITING: Final = 100
"""How many requests may wait for one share; what comes on top is told so at once."""

_MOST_WAITING_IN_ALL: Final = 1000


class BusyError(TimeoutError):
    """There is no connection for a caller: it has its share, or everybody waits."""


class Caller(NamedTuple):
    """Who asks for a connection: the principal, the customer whose data it is about, and whether it writes."""

    principal: str
    customer: str | None
    writes: bool
    is_customer: bool = False


CALLER: Final[ContextVar[Caller | None]] = ContextVar("caller", default=None)
"""The caller of the request that is served; None for what the process does by itself."""


@dataclass(slots=True)
class _Share:
    """So many connections at once, in the order of arrival; `users` hold one, or wait."""

    free: int
    most_waiting: int
    users: int = 0
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque[asyncio.Future[None]])

    def take(self) -> bool:
        """Take a place, if one is free and nobody waits for it."""
        if not self.free or self.waiting:
            return False
        self.free -= 1
        return True

    async def wait(self) -> None:
        """Take a place when one is free.

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
                self.waiting.remove(turn)
            else:  # it was given a place in the very moment in which it gave up
                self.leave()
            raise

    def leave(self) -> None:
        """Give a place to who waits for the longest."""
        while self.waiting:
            turn = self.waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.free += 1


@dataclass(slots=True)
class Shares:
    """The shares of the callers in `size` connections."""

    size: int
    _shares: dict[tuple[str, str], _Share] = field(default_factory=dict[tuple[str, str], _Share])

    def take(self, caller: Caller) -> list[tuple[str, str]] | None:
        """Take a place in each share that the caller counts to, to be left; None where one is not free."""
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
        """The same, when they are free.

        Raises:
            BusyError: see there.
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
        """Give places back."""
        for key in reversed(taken):
            share = self._shares[key]
            share.leave()
            self._forget(key, share)

    def _forget(self, key: tuple[str, str], share: _Share) -> None:
        share.users -= 1
        if not share.users:
            del self._shares[key]

    def _wanted(self, caller: Caller) -> list[tuple[tuple[str, str], int]]:
        """The shares, in the order in which they are waited for: the narrow ones first."""
        found: list[tuple[tuple[str, str], int]] = []
        if caller.writes and caller.customer is not None:
            found.append((("customer", caller.customer), min(MOST_WRITES_OF_CUSTOMER, self._most_writes)))
        own = MOST_WRITES_OF_CUSTOMER if caller.is_customer else self.size - 1
        found.append((("principal", caller.principal), max(1, own)))
        if caller.writes:
            found.append((_WRITES, self._most_writes))
        return found

    @property
    def _most_writes(self) -> int:
        """A quarter of the connections, at least one, is for reads alone."""
        return max(1, self.size - max(1, self.size // 4))


_WRITES: Final = ("writes", "")


async def open_shared_pool(url: str, *, application: str, max_size: int) -> Pool:
    """A pool as `open_pool` makes it, for an API.

    Raises:
        OSError, asyncpg.PostgresError: the database does not answer, or refuses.
    """
    return await SharedPool(url, application, max_size)


class _Session(asyncpg.Connection):
    """A session that is given back as it was taken: settings and locks of an API are its transactions'.

    To reset it nevertheless would cost as much as a short statement.
    """

    __slots__ = ()

    def get_reset_query(self) -> str:
        """See asyncpg."""
        return ""


class SharedPool(asyncpg.Pool):
    """A pool that gives every caller its share."""

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
            if bound is None:  # nothing to wait for: a bound would cost more than all else here
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
        """Give a connection back; again it has no effect."""
        try:
            await super().release(connection, timeout=timeout)
        finally:
            self._shares.leave(self._taken.pop(connection, []))
