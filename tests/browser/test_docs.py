"""`/docs` in a real browser: every operation is there, and no request goes to another host."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import uvicorn
from fastapi import FastAPI
from playwright.async_api import Browser, Page, expect
from starlette.types import ASGIApp

from deploy.local.gateway import Gateway
from shared.http.server import bind
from shared.postgres.pool import Pool
from tests.api.served import SERVICES

METHODS = {"get", "post", "put", "patch", "delete"}


class NoDatabase:
    """A pool that is never used: the documents need no database."""

    async def fetchval(self, _statement: str) -> bool:
        return True


def apps() -> dict[str, FastAPI]:
    return {service.name: service.build(service.settings(), cast("Pool", NoDatabase())) for service in SERVICES}


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[str]:
    """The app on a port of its own; its URL."""
    listening = bind("127.0.0.1", 0)
    config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False, ws="none")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve(sockets=[listening]))  # `serve` would take over the signals
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


def operations(document: Mapping[str, Any]) -> set[tuple[str, str]]:
    return {(method, path) for path, item in document["paths"].items() for method in item if method in METHODS}


async def shown(page: Page) -> set[tuple[str, str]]:
    """The operations on the page: their method and path."""
    rows = page.locator(".opblock-summary")
    methods = await rows.locator(".opblock-summary-method").all_inner_texts()
    paths = await rows.locator(".opblock-summary-path").evaluate_all("rows => rows.map(row => row.dataset.path)")
    return {(method.lower(), path) for method, path in zip(methods, paths, strict=True)}


@pytest.mark.parametrize(
    "name", [*(pytest.param(service.name, marks=pytest.mark.deep) for service in SERVICES), "gateway"]
)
async def test_every_operation_is_shown_and_no_other_host_is_asked(browser: Browser, name: str):
    every = apps()
    app: ASGIApp = Gateway(every) if name == "gateway" else every[name]
    page = await browser.new_page()
    requested: list[str] = []
    wrong: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.on("requestfailed", lambda request: wrong.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type in {"error", "warning"} else None)
    async with served(app) as url:
        answer = await page.goto(f"{url}/docs")
        assert answer is not None
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        await expect(page.locator(".opblock").first).to_be_visible()
        document = await (await page.request.get(f"{url}/openapi.json")).json()
        assert await shown(page) == operations(document)
        first = page.locator(".opblock").first
        await first.locator(".opblock-summary-control").click()
        await expect(first.locator(".opblock-body")).to_be_visible()
    assert wrong == []
    assert {address.partition("/docs")[0].partition("/openapi")[0] for address in requested} == {url}
    assert {f"{url}/docs/swagger-ui-bundle.js", f"{url}/docs/swagger-ui.css", f"{url}/openapi.json"} <= set(requested)
