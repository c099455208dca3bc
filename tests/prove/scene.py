"""Where faults strike: the stage, and what is looked at to see whether one took effect and is over."""

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
"""Transactions are short: this often it is looked whether one is open."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What a fault needs to know."""

    stage: Stage
    progress: Progress
    writer: Writer
    random: Random
    poisoned: set[tuple[str, int, int]] = field(default_factory=set[tuple[str, int, int]])
    """Topic, partition and offset of what was written so that nobody can read it."""

    def links_of(self, member: Member) -> Callable[[Link], bool]:
        """Which connections are a process's own."""
        try:
            made = psutil.Process(member.pid).net_connections(kind="tcp")
        except psutil.Error:
            made = []
        ports = {item.laddr.port for item in made if item.raddr and item.raddr.port == self.stage.proxy.port}
        return lambda link: link.client_port in ports

    async def catch_in_transaction(self, wanted: Callable[[Link], bool], seconds: float = 3.0) -> Link | None:
        """The first of some connections that has a transaction open; None when none has for so long."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for link in self.stage.proxy.find(wanted):
                if link.in_transaction:
                    return link
            await asyncio.sleep(_CLOSELY)
        return None

    async def catch_writing(self, seconds: float = 3.0) -> int:
        """How many writes are on their way, at the first instant that any is; 0 when none is for so long."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if count := self.writer.on_their_way:
                return count
            await asyncio.sleep(_CLOSELY)
        return 0

    async def said(self, member: Member, since: int, words: frozenset[str], seconds: float) -> str | None:
        """The first of some words that a process logs after a position; None when it does not in time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for line in member.lines(since):
                if line.get("event") in words:
                    return _told(line)
            await asyncio.sleep(LOOK)
        return None

    async def api_answers(self, since: float) -> float | None:
        """Seconds from an instant of the loop's clock until a write is answered; None when it takes too long."""
        while self.writer.last_answer <= since:
            if asyncio.get_running_loop().time() - since > MOST_SECONDS:
                return None
            await asyncio.sleep(LOOK)
        return self.writer.last_answer - since


def _told(line: dict[str, Any]) -> str:
    return f"{line['event']} {line['count']}" if "count" in line else str(line["event"])


@dataclass(slots=True)
class Gate:
    """Lets many in, or one alone: the servers are not struck while something else has yet to recover."""

    _inside: int = 0
    _is_closed: bool = False
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """Be one of many."""
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
        """Be the only one."""
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
