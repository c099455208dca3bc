"""`ETag` and `If-Match`: of two editors the second learns that the first was there."""

from typing import Any, Final

from pydantic_core import from_json
from starlette.requests import Request
from starlette.responses import Response

from shared.http.problems import FieldError, Problem

_HEADER: Final = "if-match"


def etag(*parts: object) -> str:
    """A strong entity tag of what tells two states of a thing apart."""
    return f'"{"-".join(map(str, parts))}"'


def check_if_match(request: Request, current: str, *, required: bool = False) -> None:
    """Let a write through only on the state that its writer saw.

    Raises:
        Problem: 428, there is no `If-Match` though it is required; 412, the thing has changed since.
    """
    sent = request.headers.getlist(_HEADER)
    if not sent:
        if required:
            error = FieldError(pointer="/header/if-match", message="Send the ETag of what you edit.")
            raise Problem(
                428, "precondition_required", "This needs If-Match, with the ETag of what you edit.", (error,)
            )
        return
    tags = {tag.strip() for line in sent for tag in line.split(",")}
    if "*" not in tags and current not in tags:
        raise Problem(412, "changed_meanwhile", "It has changed since you read it: read it again.")


def tagged(response: Response) -> Response:
    """A JSON answer with the header `ETag`, as the member `etag` of its body says."""
    response.headers["ETag"] = from_json(bytes(response.body))["etag"]
    return response


def documented(*, required: bool) -> dict[str, Any]:
    """The header, as `openapi_extra` of a route that takes it."""
    description = "The ETag of what is edited."
    schema = {"type": "string", "maxLength": 1024}
    return {
        "parameters": [
            {"name": "If-Match", "in": "header", "required": required, "schema": schema, "description": description}
        ]
    }
