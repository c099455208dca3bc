"""Decodes the purchases of large batches in a second process, on another core.

Decoding is the largest part of a worker's Python time, and needs none of its state. The process reads frames from
standard input and answers each on standard output, until the input ends. It runs only on an idle processor, which the
kernel then also takes for PostgreSQL; otherwise PostgreSQL and the worker would often wait for each other. While no
processor is idle, the worker decodes itself.
"""

import asyncio
import marshal
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import starmap
from math import inf
from operator import attrgetter
from typing import Any, BinaryIO, Final, cast

from shared.contracts.envelope import Event, Record
from shared.contracts.packed import Flat, Sent, flatten, restore
from shared.contracts.quick import PURCHASE
from shared.messaging.batch import Decoded, Here, Malformation, sort
from shared.turns import map_in_turns

_WORTH_IT: Final = 300
"""Smaller batches mean that there is no backlog: their latency counts."""
_PATIENCE: Final = 0.2
"""Seconds to wait for an answer: a batch of 500 takes 0.02 on an idle processor."""
_RESPITE: Final = 2.0
"""Seconds without another try after a late answer; doubled when answers are late repeatedly."""
_LONGEST_RESPITE: Final = 16.0
_READY: Final = b"\n"
_LENGTH: Final = 8
_STOP_SECONDS: Final = 2.0
_BUFFER: Final = 4 * 1024 * 1024
_SENT: Final = attrgetter("topic", "key", "value", "headers")


class DecoderGoneError(Exception):
    """The decoding process ended by itself."""


@dataclass(slots=True)
class Apart:
    """Decodes purchases of large batches in a second process, which starts with the first of them.

    Everything else is decoded in this process: also a batch whose answer takes longer than `patience` seconds, and
    for a while those after it.
    """

    wanted: frozenset[str]
    patience: float = _PATIENCE
    _process: Process | None = field(default=None, init=False)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _asked: asyncio.Task[list[Flat | None]] | None = field(default=None, init=False)
    _respite: float = field(default=_RESPITE, init=False)
    _busy_until: float = field(default=-inf, init=False)

    async def read(self, records: Sequence[Record]) -> Decoded:
        """See `Decoder`.

        Raises:
            DecoderGoneError: see there.
        """
        here = Here(self.wanted)
        if len(records) < _WORTH_IT or PURCHASE not in self.wanted:
            return await here.read(records)
        flats = await self._ask(records)
        if flats is None:
            return await here.read(records)

        def take(pair: tuple[Record, Flat | None]) -> Event | Malformation | None:
            record, flat = pair
            event = None if flat is None else restore(flat, record)
            return here.decode(record) if event is None else event

        return sort(await map_in_turns(take, zip(records, flats, strict=True)))

    async def _ask(self, records: Sequence[Record]) -> list[Flat | None] | None:
        """The answer of the process, or None where it is late."""
        clock = asyncio.get_running_loop().time
        async with self._turn:
            if self._asked is not None and self._asked.done():
                self._asked.result()  # the late answer is not used, but its error is raised
                self._asked = None
            if self._asked is not None or clock() < self._busy_until:
                return None
            if self._process is None:
                await self._start()
            self._asked = asyncio.create_task(self._answer(_frame(list(map(_SENT, records)))))
            if not (await asyncio.wait([self._asked], timeout=self.patience))[0]:
                self._rest(clock())
                return None
            answered, self._asked = self._asked, None
            return answered.result()

    def _rest(self, now: float) -> None:
        soon = now < self._busy_until + _LONGEST_RESPITE
        self._respite = min(2 * self._respite, _LONGEST_RESPITE) if soon else _RESPITE
        self._busy_until = now + self._respite

    async def _start(self) -> None:
        """Start the process and wait until it is ready, since its imports take longer than an answer may."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", __name__, stdin=PIPE, stdout=PIPE, limit=_BUFFER
        )
        assert process.stdout is not None, "it has pipes"
        try:
            await process.stdout.read(len(_READY))  # empty if it ended at once: the first request raises then
        except asyncio.CancelledError:
            await _end(process)  # its ready byte would be read as part of the next answer
            raise
        self._process = process

    async def _answer(self, frame: bytes) -> list[Flat | None]:
        assert self._process is not None, "it was started"
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None, "it has pipes"
        assert stdout is not None, "it has pipes"
        try:
            stdin.write(frame)
            length = int.from_bytes(await stdout.readexactly(_LENGTH))
            return marshal.loads(await stdout.readexactly(length))  # noqa: S302 from our own process
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise DecoderGoneError("the decoding process ended by itself") from error

    async def close(self) -> None:
        """End the process, and wait for its end."""
        if self._asked is not None:
            self._asked.cancel()
            await asyncio.gather(self._asked, return_exceptions=True)
        if self._process is None:
            return
        assert self._process.stdin is not None, "it has pipes"
        self._process.stdin.close()
        await _end(self._process, _STOP_SECONDS)


async def _end(process: Process, seconds: float = 0.0) -> None:
    """Wait for the end of a process and of its pipes; kill it after some seconds, or when the caller is canceled."""
    try:
        with suppress(TimeoutError):
            await asyncio.wait_for(process.communicate(), seconds)
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await _until_over(process)


async def _until_over(process: Process) -> None:
    """Wait for a process that was killed: it ends at once, so a caller that is canceled again waits for it too."""
    ending = asyncio.create_task(process.communicate())
    is_canceled = False
    while not ending.done():
        try:
            await asyncio.wait([ending])
        except asyncio.CancelledError:
            is_canceled = True
    if is_canceled:
        raise asyncio.CancelledError


def _frame(payload: list[Any]) -> bytes:
    content = marshal.dumps(payload)
    return len(content).to_bytes(_LENGTH) + content


def give_way() -> None:
    """Run this process only on an idle processor, on systems that support it."""
    if hasattr(os, "SCHED_IDLE"):
        with suppress(OSError):  # where it is forbidden, the process keeps its priority
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def serve(source: BinaryIO, target: BinaryIO) -> None:
    """Signal readiness, and answer frames until the input ends."""
    target.write(_READY)
    target.flush()
    while len(head := source.read(_LENGTH)) == _LENGTH:
        records = cast("list[Sent]", marshal.loads(source.read(int.from_bytes(head))))  # noqa: S302 see above
        target.write(_frame(list(starmap(flatten, records))))
        target.flush()


if __name__ == "__main__":
    # A terminal's Ctrl-C reaches the whole process group; this process ends when the worker closes its input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    give_way()
    serve(sys.stdin.buffer, sys.stdout.buffer)
