"""Serving over HTTP, with a bounded shutdown."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Generator
from functools import partial
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp

from shared.http.connection import Connection, sweep
from shared.http.limits import Limits
from shared.http.probes import Liveness, Readiness, probes_app

GRACE_SECONDS: Final = 10
"""How long requests in progress may take after the signal to stop, in seconds."""

_BACKLOG: Final = 2048
_SWEEP_TICKS: Final = 5
"""The server ticks ten times a second."""


async def serve(app: ASGIApp, host: str, port: int, limits: Limits | None = None) -> None:
    """Serve until SIGTERM or SIGINT; requests in progress get `GRACE_SECONDS` to end. Run it on uvloop.

    Raises:
        OSError: the address cannot be bound.
    """
    server = _server(app, host, port, limits or Limits())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, server)
    try:
        await server.serve(sockets=[bind(host, port)])
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def serve_probes(is_ready: Readiness, host: str, port: int, *, is_alive: Liveness = lambda: True) -> None:
    """Serve `/livez`, `/readyz` and `/metrics` until cancelled; the caller handles signals.

    Raises:
        OSError: the address cannot be bound.
    """
    server = _server(probes_app(is_ready, is_alive), host, port, Limits())
    serving = asyncio.create_task(server.serve(sockets=[bind(host, port)]))
    try:
        await asyncio.shield(serving)
    finally:
        server.should_exit = server.force_exit = True
        await serving


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 chooses a free port.

    Raises:
        OSError: the address cannot be bound.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise OSError(error.errno, f"{host} port {port}: {error.strerror}") from error


class _Server(uvicorn.Server):
    """Uvicorn that ends connections which take too long.

    It lacks Uvicorn's signal handlers, which raise the signal again at the end: here SIGTERM exits with 0.
    """

    async def on_tick(self, counter: int) -> bool:
        if counter % _SWEEP_TICKS == 0:
            sweep(self.server_state.connections, asyncio.get_running_loop().time())
        return await super().on_tick(counter)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


def _server(app: ASGIApp, host: str, port: int, limits: Limits) -> _Server:
    # Uvicorn logs a warning for every malformed request: a caller could fill the log. The metrics count them.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    protocol: Any = partial(Connection, limits=limits.within_open_files())
    return _Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            http=protocol,
            # `sweep` does what Uvicorn's own timer is for, and must come first.
            timeout_keep_alive=int(limits.keep_alive) + 60,
            ws="none",
            proxy_headers=False,  # nothing here depends on the caller's address or scheme
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            backlog=_BACKLOG,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
    )


def _stop(server: _Server) -> None:
    # a second signal does not wait for the requests in progress
    server.force_exit = server.should_exit
    server.should_exit = True
