"""Errors over HTTP: every one is an RFC 9457 problem document."""

import http
import socket
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import asyncpg
import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from shared.http.request import request_id
from shared.postgres.pool import is_transient

MEDIA_TYPE: Final = "application/problem+json"

MAX_ERRORS: Final = 50
"""Maximum number of errors in a problem document; `errors_omitted` counts the rest."""

TOO_MANY_ERRORS: Final = "too_many_errors"
"""Type of a validation error that stands for `ctx.count` errors."""

_LONGEST_MESSAGE: Final = 300
_LONGEST_POINTER: Final = 512
_CUT: Final = "…"

_MAY_PASS: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, ConnectionError, socket.gaierror, TimeoutError)

_log = structlog.stdlib.get_logger(__name__)


class FieldError(BaseModel):
    """One error in a request."""

    model_config = ConfigDict(frozen=True)

    pointer: str = Field(
        description="JSON pointer (RFC 6901) into the body; otherwise `/query/limit`, `/path/id`, `/header/if-match`."
    )
    message: str = Field(description="What is wrong there, in words.")


class ProblemDocument(BaseModel):
    """An error (RFC 9457)."""

    model_config = ConfigDict(frozen=True, extra="allow", title="Problem")

    type: str = Field(description="Always `about:blank`: `code` tells problems apart.")
    title: str = Field(description="The reason phrase of the status.")
    status: int = Field(description="The HTTP status code.")
    detail: str = Field(description="What is wrong, in words.")
    code: str = Field(description="What is wrong, as a stable code for programs.")
    errors: list[FieldError] | None = Field(
        default=None, description=f"The errors in the request, at most {MAX_ERRORS}; absent if it is not about fields."
    )
    errors_omitted: int | None = Field(default=None, description="Number of errors that are not listed.")
    request_id: str = Field(description="Id of the request, as in the header `X-Request-Id` and in the log.")


class Problem(Exception):
    """A refused request, answered with a problem document.

    `extra` adds members to the document, such as the `missing` points of `insufficient_points`.
    """

    def __init__(self, status: int, code: str, detail: str, errors: Sequence[FieldError] = (), **extra: object) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = tuple(errors)
        self.extra = extra
        self.headers: dict[str, str] = {}

    def with_headers(self, headers: Mapping[str, str]) -> "Problem":
        """This problem, with headers added to its response."""
        self.headers.update(headers)
        return self


def render(problem: Problem, request_id: str) -> Response:
    """The response for a problem."""
    return Response(document(problem, request_id), problem.status, problem.headers, MEDIA_TYPE)


def document(problem: Problem, request_id: str) -> bytes:
    """The problem document as JSON, of bounded size."""
    content: dict[str, Any] = {
        "type": "about:blank",
        "title": _title(problem.status),
        "status": problem.status,
        "detail": shorten(problem.detail, _LONGEST_POINTER + _LONGEST_MESSAGE),
        "code": problem.code,
    }
    if problem.errors:
        content["errors"] = [_shortened(error) for error in problem.errors[:MAX_ERRORS]]
    if omitted := len(problem.errors[MAX_ERRORS:]):
        content["errors_omitted"] = omitted
    return to_json(content | {"request_id": request_id, **problem.extra})


def shorten(text: str, longest: int) -> str:
    """The text, cut to `longest` characters with an ellipsis: a caller's input is not echoed at any length."""
    return text if len(text) <= longest else text[:longest] + _CUT


def unexpected() -> Problem:
    """The problem for an unexpected error: it reveals nothing but the request's id."""
    return Problem(500, "internal_error", "An unexpected error; the log has it under this request_id.")


def install(app: FastAPI) -> None:
    """Make the app answer every failure of a request with a problem document."""
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    for kind in _MAY_PASS:
        app.add_exception_handler(kind, _on_failure)


def escape(name: str) -> str:
    """A member's name, escaped as a step of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def _shortened(error: FieldError) -> FieldError:
    if len(error.pointer) <= _LONGEST_POINTER and len(error.message) <= _LONGEST_MESSAGE:
        return error
    return FieldError(
        pointer=shorten(error.pointer, _LONGEST_POINTER), message=shorten(error.message, _LONGEST_MESSAGE)
    )


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return render(error, request_id(request))


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found: Sequence[Mapping[str, Any]] = error.errors()
    if any(item["type"] == "json_invalid" for item in found):
        return render(Problem(400, "malformed_json", "The body is not JSON."), request_id(request))
    if any(item["loc"] == ("body",) for item in found) and not _is_json(request):
        problem = Problem(415, "unsupported_media_type", "Send the body as Content-Type: application/json.")
        return render(problem, request_id(request))
    listed = found[:MAX_ERRORS]
    errors = [FieldError(pointer=_pointer(item, error.body), message=_message(item)) for item in listed]
    detail = f"{errors[0].pointer or 'The body'}: {errors[0].message}"
    omitted = len(found) - len(listed) + sum(_summed_up(item) for item in listed)
    extra = {"errors_omitted": omitted} if omitted else {}
    return render(Problem(422, "invalid_request", detail, errors, **extra), request_id(request))


def _summed_up(item: Mapping[str, Any]) -> int:
    """Number of further errors that this one stands for."""
    return item["ctx"]["count"] - 1 if item["type"] == TOO_MANY_ERRORS else 0


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code, detail = _KNOWN.get(error.status_code, (_title(error.status_code).lower().replace(" ", "_"), error.detail))
    problem = Problem(error.status_code, code, detail)
    return render(problem.with_headers(error.headers or {}), request_id(request))


async def _on_failure(request: Request, error: Exception) -> Response:
    if not is_transient(error):
        raise error  # a bug: the middleware logs it and answers 500
    _log.warning("request_unavailable", failure=type(error).__name__, error=str(error))
    problem = Problem(503, "unavailable", "The service is not available right now; try again.")
    return render(problem.with_headers({"Retry-After": "1"}), request_id(request))


_KNOWN: Final = {
    400: ("malformed_body", "The body cannot be read."),
    404: ("not_found", "There is nothing at this path."),
    405: ("method_not_allowed", "This path does not take this method."),
}


def _is_json(request: Request) -> bool:
    media_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    return media_type == "application/json" or media_type.endswith("+json")


def _title(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def _pointer(item: Mapping[str, Any], body: object) -> str:
    """The JSON pointer of a validation error; in the body it begins at the body's root."""
    steps: list[str | int] = list(item["loc"])
    if steps and steps[0] == "body":
        steps = _in_body(steps[1:], body, is_missing=str(item["type"]).startswith("missing"))
        if item["type"].startswith("union_tag"):
            steps.append(str(item["ctx"]["discriminator"]).strip("'"))
    return "".join(f"/{escape(str(step))}" for step in steps)


def _in_body(steps: Sequence[str | int], body: object, *, is_missing: bool) -> list[str | int]:
    """The steps that exist in the sender's document: pydantic adds the branches of unions between them.

    Only the last step to a missing member leads nowhere.
    """
    found: list[str | int] = []
    at = body
    for index, step in enumerate(steps):
        if isinstance(at, dict) and step in at:
            at = cast("dict[object, object]", at)[step]
        elif isinstance(at, list) and isinstance(step, int) and step < len(cast("list[object]", at)):
            at = cast("list[object]", at)[step]
        elif not (is_missing and index == len(steps) - 1):
            continue
        found.append(step)
    return found


def _message(item: Mapping[str, Any]) -> str:
    # pydantic prefixes the message with the class of the validator's exception
    return str(item["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
