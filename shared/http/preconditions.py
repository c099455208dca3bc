"""`ETag` and `If-Match`: the second of two editors does not overwrite the first."""

from typing import Any, Final

from pydantic_core import from_json
from starlette.requests import Request
from starlette.responses import Response

from shared.http.problems import FieldError, Problem

_HEADER: Final = "if-match"


def etag(*parts: object) -> str:
    """A strong entity tag of the parts that distinguish two states of a resource."""
    return f'"{"-".join(map(str, parts))}"'


def check_if_match(request: Request, current: str, *, required: bool = False) -> None:
    """Let a write through only if the resource is in the state that its writer saw.

    Raises:
        Problem: 428, `If-Match` is required and missing; 412, the resource has changed since.
    """
    sent = request.headers.getlist(_HEADER)
    if not sent:
        if required:
            error = FieldError(pointer="/header/if-match", message="Send the ETag of the version that you edit.")
            raise Problem(
                428,
                "precondition_required",
                "This request needs If-Match with the ETag of the version that you edit.",
                (error,),
            )
        return
    tags = {tag.strip() for line in sent for tag in line.split(",")}
    if "*" not in tags and current not in tags:
        raise Problem(412, "changed_meanwhile", "The resource has changed since you read it: read it again.")


def tagged(response: Response) -> Response:
    """A JSON response, with its body's member `etag` as the header `ETag`."""
    response.headers["ETag"] = from_json(bytes(response.body))["etag"]
    return response


def documented(*, required: bool) -> dict[str, Any]:
    """The header, as `openapi_extra` of a route that accepts it."""
    description = "The ETag of the state that is edited."
    schema = {"type": "string", "maxLength": 1024}
    return {
        "parameters": [
            {"name": "If-Match", "in": "header", "required": required, "schema": schema, "description": description}
        ]
    }
