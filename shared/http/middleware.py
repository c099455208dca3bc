"""What every request passes through: its id, log context, metrics, and the handling of unexpected errors.

Plain ASGI: Starlette's `BaseHTTPMiddleware` would start a task group for every request.
"""

import time
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_to_bytes

import structlog
from prometheus_client import Counter, Histogram
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared import telemetry
from shared.http.auth import Authenticator
from shared.http.auth.principal import Principal
from shared.http.bodies import LargeBodies, admitted
from shared.http.problems import Problem, render, unexpected
from shared.http.request import REQUEST_ID, identify
from shared.telemetry import HTTP_REQUESTS, HTTP_SECONDS

_HEADER: Final = REQUEST_ID.lower().encode()
_WITHOUT_BODY: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_CACHING: Final = b"cache-control"
_NO_STORE: Final = (_CACHING, b"no-store")
_PROBES: Final = frozenset({"/livez", "/readyz", "/metrics"})

_log = structlog.stdlib.get_logger(__name__)


class RequestMiddleware:
    """Gives a request its id, binds it to the log, counts the response, and turns an unexpected error into a 500.

    No body is read before its sender is authenticated. Responses of `/v1/` are not cached unless the route allows it.
    """

    def __init__(self, app: ASGIApp, open_paths: tuple[str, ...] = ()) -> None:
        self._app = app
        self._open_paths = open_paths
        self._large = LargeBodies()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request; pass on anything but HTTP."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()
        headers = Headers(scope=scope)
        request_id = identify(headers.get(REQUEST_ID))
        scope.setdefault("state", {})["request_id"] = request_id
        is_private = scope["path"].startswith("/v1/")
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                sent = [*message.get("headers", ()), (_HEADER, request_id.encode())]
                if is_private and not any(name == _CACHING for name, _ in sent):
                    sent.append(_NO_STORE)
                message["headers"] = sent
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                _check(scope)
                if scope["method"] in _WITHOUT_BODY:
                    await self._app(scope, receive, answer)
                else:
                    sender = None
                    if not scope["path"].startswith(self._open_paths):
                        sender = (await _authenticate(scope, headers)).name
                    async with admitted(receive, headers, sender, self._large) as body:
                        await self._app(scope, body, answer)
            except Problem as refusal:
                await render(refusal, request_id)(scope, receive, answer)
            except Exception as error:
                _log.error("request_failed", method=scope["method"], route=_route(scope), **telemetry.trace(error))
                if status:
                    raise  # the response has begun: only an aborted connection tells the caller
                await render(unexpected(), request_id)(scope, receive, answer)
            finally:
                _count(scope, status, time.perf_counter() - begun)


async def _authenticate(scope: Scope, headers: Headers) -> Principal:
    """The sender of a body, stored for the route's own dependency, which checks the scope.

    Raises:
        Problem: 401, the credentials are missing or invalid.
    """
    authenticator: Authenticator = scope["app"].state.authenticator
    principal = await authenticator.authenticate(headers.get("authorization"))
    scope["state"]["principal"] = principal
    return principal


def _check(scope: Scope) -> None:
    """Refuse paths and queries that no route should see: an escaped slash changes the path, NUL breaks PostgreSQL."""
    raw_path: bytes = scope.get("raw_path") or b""
    if b"%" in raw_path and not _is_plain(raw_path):
        raise Problem(404, "not_found", "There is nothing at this path.")
    query: bytes = scope["query_string"]
    if b"\x00" in query or b"%00" in query:
        raise Problem(400, "malformed_query", "The query contains NUL.")


def _is_plain(raw_path: bytes) -> bool:
    if b"%2F" in raw_path.upper():
        return False
    try:
        return "\x00" not in unquote_to_bytes(raw_path).decode()
    except UnicodeDecodeError:
        return False


def _route(scope: Scope) -> str:
    """The template of the path, so that metrics and logs contain no customer ids."""
    return getattr(scope.get("route"), "path", "unmatched")


def _count(scope: Scope, status: int, seconds: float) -> None:
    route = _route(scope)
    if route in _PROBES:
        return
    requests, durations = _metrics(scope["method"] if route != "unmatched" else "any", route, status or 499)
    requests.inc()
    durations.observe(seconds)


@lru_cache(maxsize=1024)  # looking both up costs as much as counting
def _metrics(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    return HTTP_REQUESTS.labels(method, route, str(status)), HTTP_SECONDS.labels(method, route)
