"""What the providers of the message catcher read of a request."""

import base64
import binascii

from starlette.requests import Request


class TooLargeError(Exception):
    """A body is longer than its route takes."""


async def read_body(request: Request, largest: int) -> bytes:
    """The body of a request.

    Raises:
        TooLargeError: it has more than `largest` bytes.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > largest:
            raise TooLargeError
    return bytes(body)


def read_user(request: Request) -> tuple[str, str] | None:
    """User and password of basic authentication (RFC 7617); None if there are none."""
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    try:
        user, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return (user, password) if scheme.lower() == "basic" and colon else None
