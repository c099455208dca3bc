"""What a body may hold, looked at before any route sees it.

Not a dependency of the routes: FastAPI spends tens of microseconds on each, also for requests without a body.
"""

import json
import re
from collections.abc import Iterable
from typing import Final, cast

from starlette.types import Message, Receive

from shared.http.problems import FieldError, Problem, escape

LARGEST_BODY: Final = 1_048_576
"""Bytes of the largest body that is read."""

_UNKEEPABLE: Final = re.compile("[\x00\ud800-\udfff]")


async def admit(receive: Receive) -> Receive:
    """Read a body; what is returned gives it again, to whoever asks for it.

    Raises:
        Problem: 413, it is too large; 422, it holds what PostgreSQL cannot keep in a string: NUL or half of a
            surrogate pair.
    """
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return _first(message, receive)
        body += message.get("body", b"")
        if len(body) > LARGEST_BODY:
            raise too_large()
        more = message.get("more_body", False)
    _check(bytes(body))
    return _first({"type": "http.request", "body": bytes(body), "more_body": False}, receive)


def too_large() -> Problem:
    """What is answered to a body beyond the limit."""
    return Problem(413, "body_too_large", "The body is too large.")


def _first(message: Message, then: Receive) -> Receive:
    given = [message]

    async def receive() -> Message:
        return given.pop() if given else await then()

    return receive


def _check(body: bytes) -> None:
    # The parser would take UTF-16 and UTF-32 too, in which an escape looks otherwise; JSON on the wire is UTF-8.
    if b"\x00" in body or not _is_utf8(body):
        raise Problem(422, "invalid_request", "The body is not UTF-8.")
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
        raise Problem(422, "invalid_request", f"{path}: {message}", (FieldError(pointer=path, message=message),))


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
            left.append((f"{pointer}/{escape(str(name))}", member))
    return None
