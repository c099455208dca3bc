"""A client that keeps connections busy: each sends its next request after the answer."""

import asyncio
import math
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, cast

from tests.bench import cpu
from tests.bench.cpu import Meter
from tests.bench.figures import Measured

CONNECTIONS: Final = 32
WARM_UP_SECONDS: Final = 0.5
SECONDS: Final = 2.5

_LAST_SECONDS: Final = 10.0
_HEAD: Final = re.compile(rb"HTTP/1\.1 (\d{3}) .*?\r\ncontent-length: (\d+)\r\n", re.DOTALL | re.IGNORECASE)


class BadAnswerError(Exception):
    """An answer is malformed or unexpected."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Endless requests as bytes, and their expected status."""

    requests: Iterator[bytes]
    status: int = 200


@dataclass(frozen=True, slots=True)
class Answers:
    """Number of answers, their rate, and the 99th percentile of their time in seconds."""

    count: int
    measured: Measured
    p99: float


@dataclass(slots=True)
class _Load:
    wanted: Wanted
    answered: int = 0
    waited: list[float] = field(default_factory=list[float])
    open_: int = 0
    ending: bool = False
    failed: asyncio.Event = field(default_factory=asyncio.Event)
    finished: asyncio.Event = field(default_factory=asyncio.Event)
    failure: str = ""

    def fail(self, reason: str) -> None:
        self.failure = reason
        self.failed.set()


class _Connection(asyncio.Protocol):
    def __init__(self, load: _Load) -> None:
        self._load = load
        self._received = b""
        self._sent = 0.0
        self._status = str(load.wanted.status).encode()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._load.open_ += 1
        self._send()

    def _send(self) -> None:
        assert self._transport is not None, "it is connected"
        self._sent = time.perf_counter()
        self._transport.write(next(self._load.wanted.requests))

    def data_received(self, data: bytes) -> None:
        self._received += data
        head_end = self._received.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = _HEAD.match(self._received)
        if head is None or head[1] != self._status:
            self._load.fail(self._received[:1000].decode(errors="replace"))
            return
        if len(self._received) < head_end + 4 + int(head[2]):
            return
        self._received = b""
        load = self._load
        load.answered += 1
        load.waited.append(time.perf_counter() - self._sent)
        if not load.ending:
            self._send()
            return
        load.open_ -= 1
        if not load.open_:
            load.finished.set()


async def load(port: int, wanted: Wanted, seconds: float, meter: Meter) -> Answers:
    """Keep the server busy for `seconds` after a warm-up, and wait for the answers of all requests.

    Raises:
        BadAnswerError: something else was answered, or nothing.
    """
    state = _Load(wanted)
    loop = asyncio.get_running_loop()
    opened = [await loop.create_connection(lambda: _Connection(state), "127.0.0.1", port) for _ in range(CONNECTIONS)]
    try:
        await _pass(state, min(seconds, WARM_UP_SECONDS))
        first, before = await meter.read(), state.answered
        state.waited.clear()
        await _pass(state, seconds)
        last, waited = await meter.read(), sorted(state.waited)
        usage = cpu.between(first, last, max(1, len(waited)))
        state.ending = True
        await _finish(state)
    finally:
        for transport, _ in opened:
            transport.abort()
    if state.answered == before:
        raise BadAnswerError("nothing was answered")
    p99 = waited[max(0, math.ceil(len(waited) * 0.99) - 1)]
    return Answers(state.answered, Measured(len(waited) / usage.elapsed, usage), p99)


async def _finish(state: _Load) -> None:
    try:
        await asyncio.wait_for(state.finished.wait(), _LAST_SECONDS)
    except TimeoutError:
        raise BadAnswerError(state.failure or "the last requests were not answered") from None


async def _pass(state: _Load, seconds: float) -> None:
    try:
        await asyncio.wait_for(state.failed.wait(), seconds)
    except TimeoutError:
        return
    raise BadAnswerError(state.failure)
