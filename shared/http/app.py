"""The FastAPI app that every service's API begins with."""

import json
import re
from collections.abc import Iterable
from typing import Any, Final, cast

from fastapi import Depends, FastAPI, Request

from shared.http import problems
from shared.http.auth import Authenticator
from shared.http.middleware import RequestMiddleware
from shared.http.probes import routes
from shared.postgres.pool import Pool

_REFERENCE: Final = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    "4XX": {"description": "The request is refused.", "content": _REFERENCE},
    "5XX": {"description": "The service failed or is not available.", "content": _REFERENCE},
}


_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_UNKEEPABLE: Final = re.compile("[\x00\ud800-\udfff]")


def new_app(service: str, title: str, *, pool: Pool, authenticator: Authenticator) -> FastAPI:
    """An app with problem documents, request ids, metrics, auth and probes; the service adds its routes.

    `/readyz` asks the pool for a connection that answers.
    """

    async def is_ready() -> bool:
        return await _answers(pool)

    app = FastAPI(
        title=title,
        version="1",
        openapi_tags=[{"name": service}],
        responses=_RESPONSES,
        dependencies=[Depends(_refuse_nul)],
        redirect_slashes=False,
        docs_url="/docs",
        redoc_url=None,
        routes=routes(is_ready),
    )
    app.state.authenticator = authenticator
    app.add_middleware(RequestMiddleware)
    problems.install(app)
    _describe_problems(app)
    return app


READY_SQL = """
SELECT true
"""


async def _answers(pool: Pool) -> bool:
    return await pool.fetchval(READY_SQL)


def _describe_problems(app: FastAPI) -> None:
    """Add the problem document to the app's OpenAPI, which the answers of all routes refer to."""
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


async def _refuse_nul(request: Request) -> None:
    """Refuse a JSON body that holds what PostgreSQL cannot keep in a string: NUL or a lone surrogate."""
    if request.method not in _WITH_BODY:
        return
    body = await request.body()
    # The parser would take UTF-16 and UTF-32 too, in which an escape looks otherwise; JSON on the wire is UTF-8.
    if b"\x00" in body or not _is_utf8(body):
        raise problems.Problem(422, "invalid_request", "The body is not UTF-8.")
    # both need an escape to stand in JSON, so nearly every body is done here
    if b"\\u" not in body:
        return
    try:
        content: object = json.loads(body)
    except (ValueError, RecursionError):
        return  # not JSON: the route's own validation says so
    path = _unkeepable(content)
    if path is not None:
        message = "A string holds NUL or half of a surrogate pair."
        raise problems.Problem(
            422, "invalid_request", f"{path}: {message}", (problems.FieldError(pointer=path, message=message),)
        )


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _unkeepable(content: object) -> str | None:
    """The JSON pointer of a string that cannot be kept, or None."""
    left: list[tuple[str, object]] = [("", content)]  # no recursion: what is nested deeply may not break the server
    while left:
        pointer, value = left.pop()
        if isinstance(value, str) and _UNKEEPABLE.search(value):
            return pointer
        members: Iterable[tuple[object, object]] = ()
        if isinstance(value, dict):
            members = cast("dict[str, object]", value).items()
        elif isinstance(value, list):
            members = enumerate(cast("list[object]", value))
        for name, member in members:
            if _UNKEEPABLE.search(str(name)):
                return pointer
            left.append((f"{pointer}/{problems.escape(str(name))}", member))
    return None
