"""The id of a request."""

import re
from typing import Final

import uuid_utils
from starlette.requests import Request

REQUEST_ID: Final = "X-Request-Id"

_SANE: Final = re.compile(r"[A-Za-z0-9._~:/+=@-]{1,128}")


def request_id(request: Request) -> str:
    """The id of the request: the caller's, where it sent a sane one, or a new UUIDv7."""
    return request.state.request_id


def identify(sent: str | None) -> str:
    """The id for a request whose caller sent this as its id, or nothing."""
    if sent is not None and _SANE.fullmatch(sent):
        return sent
    return str(uuid_utils.uuid7())
