"""The context of faults: the stage, and observations of whether a fault took effect and is over."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

import psutil

from tests.prove.patience import LOOK
from tests.prove.progress import MOST_SECONDS, Progress
from tests.prove.proxy import Link
from tests.prove.stage import Stage
from tests.prove.writes import Writer
from tests.support.fleet import Member

_CLOSELY: Final = 0.002
"""Polling interval in seconds for open transactions, which are short."""


@dataclass(frozen=True, slots=True)
class Scene:
    """The context of a fault."""

    stage: Stage
    progress: Progress
    writer: Writer
    random: Random
    poisoned: set[tuple[str, int, int]] = field(default_factory=set[tuple[str, int, int]])
    """Topic, partition and offset of records that are unreadable on purpose."""

    def links_of(self, member: Member) -> Callable[[Link], bool]:
        """A predicate for the connections of a process."""
        try:
            connections = psutil.Process(member.pid).net_connections(kind="tcp")
        except psutil.Error:
            connections = []
        ports = {item.laddr.port for item in connections if item.raddr and item.raddr.port == self.stage.proxy.port}
        return lambda link: link.client_port in ports

    async def catch_in_transaction(self, wanted: Callable[[Link], bool], seconds: float = 3.0) -> Link | None:
        """A matching connection with an open transaction; None if there is none within `seconds`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for link in self.stage.proxy.find(wanted):
                if link.in_transaction:
                    return link
            await asyncio.sleep(_CLOSELY)
        return None

    async def catch_writing(self, seconds: float = 3.0) -> int:
        """Wait for unanswered writes; returns their number, or 0 if there are none within `seconds`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if count := self.writer.on_their_way:
                return count
            await asyncio.sleep(_CLOSELY)
        return 0

    async def logged(self, member: Member, since: int, words: frozenset[str], seconds: float) -> str | None:
        """The first of some log events of a process after a position in its log; None if there is none in time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for line in member.lines(since):
                if line.get("event") in words:
                    return _described(line)
            await asyncio.sleep(LOOK)
        return None

    async def api_answers(self, since: float) -> float | None:
        """Seconds from an instant of the loop's clock until a write is answered; None if that takes too long."""
        while self.writer.last_answer <= since:
            if asyncio.get_running_loop().time() - since > MOST_SECONDS:
                return None
            await asyncio.sleep(LOOK)
        return self.writer.last_answer - since


def _described(line: dict[str, Any]) -> str:
    return f"{line['event']} {line['count']}" if "count" in line else str(line["event"])


@dataclass(slots=True)
class Gate:
    """A shared or exclusive lock: servers fail only while nothing else has yet to recover."""

    _inside: int = 0
    _is_closed: bool = False
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """Hold the lock shared."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._is_closed)
            self._inside += 1
        try:
            yield
        finally:
            async with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Hold the lock exclusively."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._is_closed)
            self._is_closed = True
            await self._changed.wait_for(lambda: self._inside == 0)
        try:
            yield
        finally:
            async with self._changed:
                self._is_closed = False
                self._changed.notify_all()
