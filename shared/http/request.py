"""The id of a request."""

import re
from typing import Final

import uuid_utils
from starlette.requests import Request

REQUEST_ID: Final = "X-Request-Id"

_VALID: Final = re.compile(r"[A-Za-z0-9._~:/+=@-]{1,128}")


def request_id(request: Request) -> str:
    """The id of the request: the caller's if it sent a valid one, or a new UUIDv7."""
    return request.state.request_id


def identify(sent: str | None) -> str:
    """The id of a request whose caller sent this id, or none."""
    if sent is not None and _VALID.fullmatch(sent):
        return sent
    return str(uuid_utils.uuid7())
