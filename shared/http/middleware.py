"""What surrounds every request: id, log context, metrics, and the last net for errors.

Plain ASGI: Starlette's `BaseHTTPMiddleware` would start a task group for every request.
"""

import time
from typing import Final
from urllib.parse import unquote_to_bytes

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.http import bodies
from shared.http.problems import Problem, render, unexpected
from shared.http.request import REQUEST_ID, identify
from shared.telemetry import HTTP_REQUESTS, HTTP_SECONDS

_HEADER: Final = REQUEST_ID.lower().encode()
_WITHOUT_BODY: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_PROBES: Final = frozenset({"/livez", "/readyz", "/metrics"})

_log = structlog.stdlib.get_logger(__name__)


class RequestMiddleware:
    """Gives a request its id, binds it to the log, counts the answer, and turns a bug into a 500."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or pass on what is not HTTP."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()
        headers = Headers(scope=scope)
        request_id = identify(headers.get(REQUEST_ID))
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (_HEADER, request_id.encode())]
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                _check(scope, headers)
                if scope["method"] not in _WITHOUT_BODY:
                    receive = await bodies.admit(receive)
                await self._app(scope, receive, answer)
            except Problem as refusal:
                await render(refusal, request_id)(scope, receive, answer)
            except Exception as error:
                _log.exception("request_failed", method=scope["method"], route=_route(scope), error=str(error))
                if status:
                    raise  # the answer has begun: only cutting the connection tells the caller
                await render(unexpected(), request_id)(scope, receive, answer)
            finally:
                _count(scope, status, time.perf_counter() - begun)


def _check(scope: Scope, headers: Headers) -> None:
    """Refuse what no route should see: an escaped slash would change the path's shape, NUL breaks PostgreSQL."""
    raw_path: bytes = scope.get("raw_path") or b""
    if b"%" in raw_path and not _is_plain(raw_path):
        raise Problem(404, "not_found", "There is nothing at this path.")
    query: bytes = scope["query_string"]
    if b"\x00" in query or b"%00" in query:
        raise Problem(400, "malformed_query", "The query holds NUL.")
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > bodies.LARGEST_BODY:
        raise bodies.too_large()


def _is_plain(raw_path: bytes) -> bool:
    if b"%2F" in raw_path.upper():
        return False
    try:
        return "\x00" not in unquote_to_bytes(raw_path).decode()
    except UnicodeDecodeError:
        return False


def _route(scope: Scope) -> str:
    """The path's template, so that metrics and logs hold no customer ids."""
    return getattr(scope.get("route"), "path", "unmatched")


def _count(scope: Scope, status: int, seconds: float) -> None:
    route = _route(scope)
    if route in _PROBES:
        return
    method = scope["method"] if route != "unmatched" else "any"
    HTTP_REQUESTS.labels(method, route, str(status or 499)).inc()
    HTTP_SECONDS.labels(method, route).observe(seconds)
