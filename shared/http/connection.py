"""A connection with limits on heads, stalls and slow readers, which Uvicorn's own protocol lacks.

The subclass relies on these internals of `HttpToolsProtocol`: the parser's callbacks (`on_…`), `cycle`, `pipeline`,
`flow`, `headers`, `url`, `connections`, `send_400_response`, and of a cycle `transport`, `keep_alive`, `more_body`,
`response_started`, `response_complete`, `disconnected` and `message_event`. `tests/http/test_connection.py` fails when
one of them changes.
"""

import asyncio
import heapq
from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from shared.http.limits import (
    BYTES_PER_SECOND,
    LARGEST_FRAMING,
    LARGEST_HEAD,
    MAX_HEADERS,
    MAX_PIPELINED,
    Limits,
)
from shared.http.problems import Problem, document
from shared.http.request import identify
from shared.telemetry import HTTP_CUT

_SLICE: Final = 16_384
"""Bytes that the parser gets at once; the limits are checked after each slice."""

_MAX_DRAINED: Final = 4 * 1_048_576
_EVICTED_AT_ONCE: Final = 32
_LATE_ARRIVALS: Final = 64
"""Connections beyond the limit that get a 503; further ones are aborted."""

_HEAD_TOO_LARGE: Final = Problem(
    431, "head_too_large", f"A request has at most {MAX_HEADERS} headers, of {LARGEST_HEAD} bytes together."
)
_MALFORMED: Final = Problem(400, "malformed_request", "This is not an HTTP request.")
_TOO_MANY_PIPELINED: Final = Problem(
    429, "too_many_pipelined", f"At most {MAX_PIPELINED} requests may wait on one connection."
)
_TOO_MUCH_FRAMING: Final = Problem(400, "malformed_request", "The body's chunks and trailers are larger than allowed.")
_HEAD_TIMEOUT: Final = Problem(408, "head_timeout", "The head of the request took too long.")
_BODY_TIMEOUT: Final = Problem(408, "body_timeout", "The body of the request took too long.")
_FULL: Final = Problem(503, "too_many_connections", "All connections are in use; try again.").with_headers(
    {"Retry-After": "1"}
)


class _Reading(IntEnum):
    NOTHING = 0
    HEAD = 1
    BODY = 2


class _RefusedError(Exception):
    """Stops the parser at a request that is refused."""


class _CycleTransport:
    """The transport of a request's cycle: it closes through the connection, which may drain it first."""

    __slots__ = ("close", "is_closing", "write")

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self.write = transport.write
        self.is_closing = transport.is_closing
        self.close = close


class Connection(HttpToolsProtocol):
    """A connection of a client.

    It has no timer: `sweep` is called for all connections of the server every half second.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: Limits,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.headers = []
        self.url = b""
        self._limits = limits
        self._reading = _Reading.HEAD
        self._since = 0.0  # when the head, the body, the wait or the drain began
        self._fed = 0  # bytes of the message that is read now
        self._is_first = True  # whether no message has begun yet in the data that the parser gets
        self._body_bytes = 0
        self._keeps_alive = False
        self._refusal: Problem | None = None
        self._discards_input = False
        self._is_draining = False
        self._drained = 0
        self._blocked_until: float | None = None
        self._closing_since: float | None = None

    # Called by the transport.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept the connection; if there are too many, evict idle ones or refuse this one."""
        super().connection_made(transport)
        self._since = self.loop.time()
        self._cycle_transport: Any = _CycleTransport(transport, self._finish)
        most = self._limits.connections
        if len(self.connections) > most and not self._evict_others():
            HTTP_CUT.labels("too_many_connections").inc()
            if len(self.connections) > most + _LATE_ARRIVALS:
                transport.abort()
            else:
                self._write(_FULL)
                self._finish()

    def connection_lost(self, exc: Exception | None) -> None:
        """Release memory at once: the garbage collector comes much later than the next attacker."""
        super().connection_lost(exc)
        self._forget_head()
        self._cycle_transport = None

    def data_received(self, data: bytes) -> None:
        """Parse the data, slice by slice."""
        if len(data) <= _SLICE:
            self._feed(data)
            return
        for start in range(0, len(data), _SLICE):
            self._feed(data[start : start + _SLICE])

    def pause_writing(self) -> None:
        """The client reads more slowly than responses are written."""
        super().pause_writing()
        waiting = self.transport.get_write_buffer_size()
        self._blocked_until = self.loop.time() + self._limits.answer + waiting / BYTES_PER_SECOND

    def resume_writing(self) -> None:
        """The client has caught up."""
        super().resume_writing()
        self._blocked_until = None

    # Called by the parser.

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        if self._is_first:
            self._is_first = False
        else:
            self._fed = 0
        if self._reading is not _Reading.HEAD:
            self._reading = _Reading.HEAD
            self._since = self.loop.time()

    def on_headers_complete(self) -> None:
        """Start the request, unless its head is too large or too many requests wait."""
        if len(self.headers) > MAX_HEADERS or (self._fed > LARGEST_HEAD and self._head_size() > LARGEST_HEAD):
            self._refusal = _HEAD_TOO_LARGE
            raise _RefusedError
        if len(self.pipeline) >= MAX_PIPELINED:
            self._refusal = _TOO_MANY_PIPELINED
            raise _RefusedError
        super().on_headers_complete()
        cycle = self.cycle
        cycle.transport = self._cycle_transport
        # After a request to upgrade, which is not done, no request can follow on this connection.
        self._keeps_alive = cycle.keep_alive and not self.parser.should_upgrade()  # pyright: ignore[reportOptionalMemberAccess]
        # A response that begins before the whole body has arrived ends the connection: the rest may be of any size.
        cycle.keep_alive = False
        self._body_bytes = 0
        self._reading = _Reading.BODY
        self._since = self.loop.time()

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is complete."""
        self._reading = _Reading.NOTHING
        if not self.cycle.response_started:
            self.cycle.keep_alive = self._keeps_alive
        super().on_message_complete()

    # Called by the server and the cycles.

    def on_response_complete(self) -> None:
        """Wait for the next request, or refuse the one that followed the answered one."""
        self._since = self.loop.time()
        super().on_response_complete()
        ended = self._is_draining or self.transport.is_closing()
        if self._refusal is not None and self._discards_input and not ended and not self._is_answering():
            self._refuse(self._refusal)

    def shutdown(self) -> None:
        """Close after the request in progress."""
        self._keeps_alive = False
        super().shutdown()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 (Uvicorn's message is not for callers)
        """Refuse a request that the parser does not accept."""
        self._refuse(self._refusal or _MALFORMED)

    def sweep(self, now: float) -> None:
        """Apply the timeouts; `now` is the loop's time."""
        if self.transport.is_closing():
            self._closing_since = self._closing_since or now
            if now - self._closing_since > self._limits.answer:
                self._abort("slow_reader")
        elif self._is_draining:
            if now - self._since > self._limits.drain:
                self.transport.close()
        elif self._blocked_until is not None and now > self._blocked_until:
            self._abort("slow_reader")
        else:
            self._sweep_reading(now - self._since)

    def _sweep_reading(self, waited: float) -> None:
        limits = self._limits
        if self._reading is _Reading.BODY and not self.cycle.response_complete:
            if waited > limits.body + self._body_bytes / BYTES_PER_SECOND:
                self._refuse(_BODY_TIMEOUT)
        elif self._is_answering():
            pass  # the app has its own timeouts
        elif self._reading is _Reading.HEAD:
            if waited > limits.head:
                self._end_head()
        elif waited > limits.keep_alive:
            self._end_idle()

    def _feed(self, data: bytes) -> None:
        if self._is_draining:
            self._drained += len(data)
            if self._drained > _MAX_DRAINED:
                self.transport.abort()
            return
        if self._discards_input or self.transport.is_closing():
            return
        if self._reading is _Reading.NOTHING:
            self._fed = 0
            self._is_first = True
        self._fed += len(data)
        super().data_received(data)
        if self._discards_input:
            return
        if self._reading is _Reading.HEAD:
            if self._fed > LARGEST_HEAD or len(self.headers) > MAX_HEADERS:
                self._refuse(_HEAD_TOO_LARGE)
        elif self._reading is _Reading.BODY and self._fed - self._body_bytes > LARGEST_FRAMING:
            self._refuse(_TOO_MUCH_FRAMING)

    def _forget_head(self) -> None:
        self.headers = []
        self.url = b""
        self.scope: Any = None  # the cycle of a started request has its own reference

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _is_answering(self) -> bool:
        cycle: Any = self.cycle  # None before the first request
        return cycle is not None and not cycle.response_complete

    def _refuse(self, refusal: Problem) -> None:
        """Respond with a problem to the request that is read now, and close the connection."""
        self._discards_input = True
        self._refusal = refusal
        if self.pipeline:
            self._abort(refusal.code)  # the client could not tell which request the problem is about
            return
        if self._is_answering():
            if self._reading is not _Reading.BODY:
                return  # an earlier request is in progress: refused after its response
            started, self.cycle.disconnected = self.cycle.response_started, True
            self.cycle.message_event.set()
            if started:
                self._abort(refusal.code)
                return
        HTTP_CUT.labels(refusal.code).inc()
        self._forget_head()
        self._write(refusal)
        self._finish()

    def _write(self, refusal: Problem) -> None:
        content = document(refusal, identify(None))
        headers = {
            **{name.decode(): value.decode() for name, value in self.server_state.default_headers},
            "content-type": "application/problem+json",
            "content-length": str(len(content)),
            "connection": "close",
            **refusal.headers,
        }
        lines = "".join(f"{name.lower()}: {value}\r\n" for name, value in headers.items())
        self.transport.write(STATUS_LINE[refusal.status] + lines.encode("latin-1") + b"\r\n" + content)

    def _finish(self) -> None:
        """Close; if the client may still be sending, only after it has had time to read the response.

        Closing with unread bytes resets the connection, and the response would be lost.
        """
        self.pipeline.clear()
        self._discards_input = True
        if self._reading is _Reading.NOTHING or self.transport.is_closing() or not self.transport.can_write_eof():
            self.transport.close()
            return
        self._is_draining = True
        self._since = self.loop.time()
        self.transport.write_eof()
        self.flow.resume_reading()

    def _abort(self, reason: str) -> None:
        HTTP_CUT.labels(reason).inc()
        self.transport.abort()

    def _end_head(self) -> None:
        if self._fed:
            self._refuse(_HEAD_TIMEOUT)
        else:
            HTTP_CUT.labels(_HEAD_TIMEOUT.code).inc()
            self.transport.close()  # the client has sent nothing, so it waits for no response

    def _end_idle(self) -> None:
        if self.transport.get_write_buffer_size():
            self._abort("slow_reader")
        else:
            self.transport.close()

    def _evict_others(self) -> bool:
        """Close the connections that have been idle longest; returns whether there were any."""
        others = [other for other in self.connections if other is not self and isinstance(other, Connection)]
        idle = [other for other in others if other.is_idle]
        for other in heapq.nsmallest(_EVICTED_AT_ONCE, idle, key=_idle_since):
            self.connections.discard(other)
            HTTP_CUT.labels("evicted").inc()
            other.end_now()
        return bool(idle)

    def end_now(self) -> None:
        """Close without waiting for a client that does not read."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

    @property
    def is_idle(self) -> bool:
        """Whether closing loses no request: none is in progress, and none has a complete head."""
        return self._is_draining or (self._reading is not _Reading.BODY and not self._is_answering())

    @property
    def idle_since(self) -> float:
        """Since when it is idle, in the loop's time."""
        return self._since


def _idle_since(connection: Connection) -> float:
    return connection.idle_since


def sweep(connections: Iterable[object], now: float) -> None:
    """Apply the timeouts to the connections of a server; `now` is the loop's time."""
    for connection in list(connections):
        if isinstance(connection, Connection):
            connection.sweep(now)
