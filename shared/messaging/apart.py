"""Decoding in a process apart: purchases of large batches are decoded on another core.

Decoding is the largest part of what a worker does in Python, and needs nothing that the worker knows. The
process takes frames on its standard input and answers each on its standard output, until the input ends.
"""

import asyncio
import marshal
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import starmap
from operator import attrgetter
from typing import Any, BinaryIO, Final, cast

from shared.contracts.envelope import Event, Record
from shared.contracts.packed import Flat, Sent, flatten, restore
from shared.contracts.quick import PURCHASE
from shared.messaging.batch import Decoded, Here, Malformation, sort
from shared.turns import map_in_turns

_WORTH_IT: Final = 100
"""Smaller batches are decoded sooner here than there."""
_LENGTH: Final = 8
_STOP_SECONDS: Final = 2.0
_BUFFER: Final = 4 * 1024 * 1024
_SENT: Final = attrgetter("topic", "key", "value", "headers")


class DecoderGoneError(Exception):
    """The process apart ended by itself."""


@dataclass(slots=True)
class Apart:
    """Decodes in a process apart, which starts with the first large batch; the rest, and all else, here."""

    wanted: frozenset[str]
    _process: Process | None = field(default=None, init=False)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def read(self, records: Sequence[Record]) -> Decoded:
        """See `Decoder`.

        Raises:
            DecoderGoneError: see there.
        """
        here = Here(self.wanted)
        if len(records) < _WORTH_IT or PURCHASE not in self.wanted:
            return await here.read(records)
        flats = await self._ask(_frame(list(map(_SENT, records))))

        def take(pair: tuple[Record, Flat | None]) -> Event | Malformation | None:
            record, flat = pair
            event = None if flat is None else restore(flat, record)
            return here.decode(record) if event is None else event

        return sort(await map_in_turns(take, zip(records, flats, strict=True)))

    async def _ask(self, frame: bytes) -> list[Flat | None]:
        async with self._turn:
            if self._process is None:
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", __name__, stdin=PIPE, stdout=PIPE, limit=_BUFFER
                )
            stdin, stdout = self._process.stdin, self._process.stdout
            assert stdin is not None, "it has pipes"
            assert stdout is not None, "it has pipes"
            try:
                stdin.write(frame)
                length = int.from_bytes(await stdout.readexactly(_LENGTH))
                return marshal.loads(await stdout.readexactly(length))  # noqa: S302 our own process's
            except (asyncio.IncompleteReadError, ConnectionError) as error:
                raise DecoderGoneError("the process that decodes ended by itself") from error

    async def close(self) -> None:
        """End the process."""
        if self._process is None:
            return
        assert self._process.stdin is not None, "it has pipes"
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), timeout=_STOP_SECONDS)
        except TimeoutError:
            self._process.kill()


def _frame(payload: list[Any]) -> bytes:
    content = marshal.dumps(payload)
    return len(content).to_bytes(_LENGTH) + content


def serve(source: BinaryIO, target: BinaryIO) -> None:
    """Answer frames until there are no more."""
    while len(head := source.read(_LENGTH)) == _LENGTH:
        records = cast("list[Sent]", marshal.loads(source.read(int.from_bytes(head))))  # noqa: S302 see above
        target.write(_frame(list(starmap(flatten, records))))
        target.flush()


if __name__ == "__main__":
    # A terminal's Ctrl-C reaches the whole group; this one ends with its input, when the worker does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    serve(sys.stdin.buffer, sys.stdout.buffer)
