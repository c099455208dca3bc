"""A client that keeps connections busy: each sends its next request when it has its answer."""

import asyncio
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Final, cast

CONNECTIONS: Final = 32
WARM_UP_SECONDS: Final = 1.0
SECONDS: Final = 3.0

_HEAD: Final = re.compile(rb"HTTP/1\.1 (\d{3}) .*?\r\ncontent-length: (\d+)\r\n", re.DOTALL | re.IGNORECASE)


class BadAnswerError(Exception):
    """An answer that is none, or not 200."""


@dataclass(slots=True)
class _Load:
    requests: Iterator[bytes]
    answered: int = 0
    failed: asyncio.Event = field(default_factory=asyncio.Event)
    failure: str = ""

    def fail(self, reason: str) -> None:
        self.failure = reason
        self.failed.set()


class _Connection(asyncio.Protocol):
    def __init__(self, load: _Load) -> None:
        self._load = load
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(next(self._load.requests))

    def data_received(self, data: bytes) -> None:
        self._received += data
        head_end = self._received.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = _HEAD.match(self._received)
        if head is None or head[1] != b"200":
            self._load.fail(self._received[:500].decode(errors="replace"))
            return
        if len(self._received) < head_end + 4 + int(head[2]):
            return
        self._received = b""
        self._load.answered += 1
        assert self._transport is not None, "it is connected"
        self._transport.write(next(self._load.requests))


def requests(paths: list[str], token: str) -> Iterator[bytes]:
    """GETs of the paths, over and over."""
    made = [f"GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n\r\n".encode() for path in paths]
    return (made[number % len(made)] for number in count())


async def load(port: int, wanted: Iterator[bytes]) -> float:
    """Requests per second that are answered with 200.

    Raises:
        BadAnswerError: something else was answered, or nothing.
    """
    state = _Load(wanted)
    loop = asyncio.get_running_loop()
    opened = [await loop.create_connection(lambda: _Connection(state), "127.0.0.1", port) for _ in range(CONNECTIONS)]
    try:
        await _pass(state, WARM_UP_SECONDS)
        begun, before = time.perf_counter(), state.answered
        await _pass(state, SECONDS)
        if state.answered == before:
            raise BadAnswerError("nothing was answered")
        return (state.answered - before) / (time.perf_counter() - begun)
    finally:
        for transport, _ in opened:
            transport.abort()


async def _pass(state: _Load, seconds: float) -> None:
    try:
        await asyncio.wait_for(state.failed.wait(), seconds)
    except TimeoutError:
        return
    raise BadAnswerError(state.failure)
