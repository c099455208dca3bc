"""Liveness, readiness and metrics of every process, for an orchestrator and for monitoring."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, Router

Readiness = Callable[[], Awaitable[bool]]
"""Returns whether the process can do its work now; an exception means no."""

Liveness = Callable[[], bool]
"""Returns whether the process can do its work again without a restart."""

_READY_SECONDS: Final = 2.0

_log = structlog.stdlib.get_logger(__name__)


def routes(is_ready: Readiness, is_alive: Liveness = lambda: True) -> list[BaseRoute]:
    """`/livez` (200 while the event loop runs), `/readyz` (200 or 503) and `/metrics` (Prometheus)."""

    async def livez(_request: Request) -> Response:
        if is_alive():
            return JSONResponse({"status": "alive"})
        return JSONResponse({"status": "stuck"}, 503)

    async def readyz(_request: Request) -> Response:
        if await _ask(is_ready):
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "not_ready"}, 503)

    return [
        Route("/livez", livez, include_in_schema=False),
        Route("/readyz", readyz, include_in_schema=False),
        Route("/metrics", _metrics, include_in_schema=False),
    ]


def probes_app(is_ready: Readiness, is_alive: Liveness = lambda: True) -> Router:
    """An ASGI app of the probes alone."""
    return Router(routes(is_ready, is_alive), redirect_slashes=False)


async def _ask(is_ready: Readiness) -> bool:
    try:
        return await asyncio.wait_for(is_ready(), _READY_SECONDS)
    except Exception as error:  # noqa: BLE001 (after any error the process is not ready)
        _log.warning("not_ready", failure=type(error).__name__, error=str(error))
        return False


async def _metrics(_request: Request) -> Response:
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
