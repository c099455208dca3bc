"""The page for reading and trying the routes, which loads nothing from other hosts (swagger_ui/README.md)."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route

_FOLDER: Final = Path(__file__).with_name("swagger_ui")

_ASSETS: Final = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "start.js": "text/javascript",
}

_HEADERS: Final = {
    # Swagger UI writes styles into its elements and loads its icons from `data:`; all else is of this origin.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def routes() -> list[BaseRoute]:
    """The page `/docs`, which shows the document at `/openapi.json`, and the files that it loads."""
    page = Route("/docs", _file("index.html", "text/html"), include_in_schema=False)
    assets = [
        Route(f"/docs/{name}", _file(name, media_type), include_in_schema=False) for name, media_type in _ASSETS.items()
    ]
    return [page, *assets]


def _file(name: str, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(_request: Request) -> Response:
        return FileResponse(_FOLDER / name, media_type=media_type, headers=_HEADERS)

    return endpoint
