"""The FastAPI app that every service's API starts from."""

from typing import Any, Final

from fastapi import FastAPI

from shared.http import docs, problems
from shared.http.auth import Authenticator
from shared.http.middleware import RequestMiddleware
from shared.http.probes import routes
from shared.postgres.pool import Pool

_REFERENCE: Final = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    "4XX": {"description": "The request is refused.", "content": _REFERENCE},
    "5XX": {"description": "The service failed or is not available.", "content": _REFERENCE},
}


def new_app(
    service: str, title: str, *, pool: Pool, authenticator: Authenticator, open_paths: tuple[str, ...] = ()
) -> FastAPI:
    """An app with problem documents, request ids, metrics, authentication, probes and `/docs`, but no routes yet.

    `/readyz` is ready if a connection of the pool answers. A body is read only if the caller's credentials are valid;
    where the path begins with one of `open_paths`, a small body is read from anybody.
    """

    async def is_ready() -> bool:
        return await _answers(pool)

    app = FastAPI(
        title=title,
        version="1",
        openapi_tags=[{"name": service}],
        responses=_RESPONSES,
        redirect_slashes=False,
        docs_url=None,  # FastAPI's own page loads its script from the internet
        redoc_url=None,
        # FastAPI would look for OpenTelemetry on every request, and put paths, so customer ids, into its spans.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        routes=[*routes(is_ready), *docs.routes()],
    )
    app.state.authenticator = authenticator
    app.add_middleware(RequestMiddleware, open_paths=open_paths)
    problems.install(app)
    _describe_problems(app)
    return app


READY_SQL = """
SELECT true
"""


async def _answers(pool: Pool) -> bool:
    return await pool.fetchval(READY_SQL)


def _describe_problems(app: FastAPI) -> None:
    """Add the schema of problems to the app's OpenAPI document: the responses of all routes refer to it."""
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        document = describe()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas.setdefault("FieldError", problems.FieldError.model_json_schema())
        schemas.setdefault("Problem", _schema(problems.ProblemDocument))
        return document

    app.openapi = openapi


def _schema(model: type[problems.ProblemDocument]) -> dict[str, Any]:
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    return schema
