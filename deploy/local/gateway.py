"""The APIs of all services on one port: `python -m deploy.local.gateway PORT`.

The apps run side by side, routed as by an ingress: a request goes to the app that has a route for it.
"""

import asyncio
import importlib
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

import uvloop
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Match, Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deploy.local import pages
from deploy.local.openapi import merged
from deploy.local.ports import LOOPBACK
from services import SERVICES
from shared import telemetry
from shared.http import docs
from shared.http.probes import routes as probes
from shared.http.server import serve
from shared.postgres.shares import open_shared_pool
from shared.process import garbage


class Gateway:
    """One ASGI app in front of the apps of several services.

    Its own routes come first: `/`, `/docs`, `/openapi.json`, and the probes of all services together. An unknown path
    goes to the first app, which answers with a problem document.
    """

    def __init__(self, apps: Mapping[str, FastAPI]) -> None:
        self._apps = apps
        self._pages = Router(self._routes(), redirect_slashes=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await self._choose(scope)(scope, receive, send)

    def _choose(self, scope: Scope) -> ASGIApp:
        for route in self._pages.routes:
            if route.matches(scope)[0] is Match.FULL:
                return self._pages
        partial: ASGIApp | None = None
        for app in self._apps.values():
            for route in app.router.routes:
                match route.matches(scope)[0]:
                    case Match.FULL:
                        return app
                    case Match.PARTIAL:  # the path with another method
                        partial = partial or app
                    case _:
                        pass
        return partial or next(iter(self._apps.values()))

    def _routes(self) -> list[BaseRoute]:
        document = merged({name: app.openapi() for name, app in self._apps.items()})

        async def openapi(_request: Request) -> Response:
            return JSONResponse(document)

        async def readyz(_request: Request) -> Response:
            answers = await asyncio.gather(*(_is_ready(app) for app in self._apps.values()))
            services = {
                name: "ready" if ready else "not_ready" for name, ready in zip(self._apps, answers, strict=True)
            }
            status = "ready" if all(answers) else "not_ready"
            return JSONResponse({"status": status, "services": services}, 200 if all(answers) else 503)

        # `/livez` and `/metrics` are about the process, so they are the same for all apps.
        of_process = [route for route in probes(_always) if isinstance(route, Route) and route.path != "/readyz"]
        return [
            Route("/", pages.front(document)),
            Route("/openapi.json", openapi),
            Route("/readyz", readyz),
            *docs.routes(),
            *of_process,
        ]


async def _always() -> bool:
    return True


async def _is_ready(app: ASGIApp) -> bool:
    """Whether the app's `/readyz` answers 200."""
    statuses: list[int] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    await app(_get("/readyz"), receive, send)
    return statuses == [200]


def _get(path: str) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [],
        "client": None,
        "server": None,
    }


async def _serve(port: int) -> None:
    """Build every service's API with its own pool, and serve them until a signal."""
    async with AsyncExitStack() as pools:
        apps: dict[str, FastAPI] = {}
        for service in SERVICES:
            settings = importlib.import_module(f"services.{service}.settings").Settings()
            url, size = settings.database_url, settings.pool_size
            pool = await pools.enter_async_context(
                await open_shared_pool(url, application=f"wafa-{service}-api", max_size=size)
            )
            apps[service] = importlib.import_module(f"services.{service}.__main__").DOOR.app(settings, pool)
        garbage.spare()
        await serve(Gateway(apps), LOOPBACK, port)


if __name__ == "__main__":
    telemetry.configure("gateway", "INFO")
    uvloop.run(_serve(int(sys.argv[1])))
