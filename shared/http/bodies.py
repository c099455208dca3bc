"""Limits on request bodies: size, number at once, and content, enforced before a route sees them.

This is no dependency of the routes: FastAPI reads and parses a body before it calls dependencies.
"""

import json
import re
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from typing import Final, TypeVar, cast

from pydantic import BeforeValidator, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import PydanticCustomError
from starlette.datastructures import Headers
from starlette.types import Message, Receive

from shared.http.problems import TOO_MANY_ERRORS, FieldError, Problem, escape

T = TypeVar("T")

LARGEST_BODY: Final = 1_048_576
"""Maximum size of a body in bytes."""

SMALL_BODY: Final = 16_384
"""Bytes up to which a body counts as small: any number of small bodies is handled at once."""

LARGE_AT_ONCE: Final = 16
"""Maximum number of requests with a larger body that a process handles at once."""

LARGE_BY_PRINCIPAL: Final = 4
"""The same for the requests of one caller."""

MAX_VALUES: Final = 50_000
"""Approximate maximum of members and elements in a JSON body: each becomes an object many times its size."""

_MAX_LISTED_ERRORS: Final = 1_000

_ESCAPED: Final = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")


class LargeBodies:
    """Counts the requests in progress that have a large body."""

    def __init__(self) -> None:
        self._by_principal = Counter[str]()

    def enter(self, principal: str) -> None:
        """Count a request of a caller.

        Raises:
            Problem: 503, too many are in progress.
        """
        if self._by_principal.total() >= LARGE_AT_ONCE or self._by_principal[principal] >= LARGE_BY_PRINCIPAL:
            problem = Problem(503, "too_many_large_bodies", "Too many large bodies are being handled; try again.")
            raise problem.with_headers({"Retry-After": "1"})
        self._by_principal[principal] += 1

    def leave(self, principal: str) -> None:
        """Stop counting a request of a caller."""
        self._by_principal[principal] -= 1
        if not self._by_principal[principal]:
            del self._by_principal[principal]


@asynccontextmanager
async def admitted(
    receive: Receive, headers: Headers, principal: str | None, large: LargeBodies
) -> AsyncGenerator[Receive]:
    """Read a whole body; yields a `receive` that replays it.

    Without a principal only a small body is read.

    Raises:
        Problem: 408, the body is incomplete; 413, it is too large; 415, it is compressed; 422, a string in it cannot
            be stored by PostgreSQL (NUL or half of a surrogate pair), or it has too many members; 503, too many large
            bodies are being handled.
    """
    largest = SMALL_BODY if principal is None else LARGEST_BODY
    _check_headers(headers, largest)
    body = bytearray()
    entered: str | None = None
    try:
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Problem(408, "body_incomplete", "The connection ended before the whole body arrived.")
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > largest:
                raise _too_large(largest)
            if principal is not None and entered is None and len(body) > SMALL_BODY:
                large.enter(principal)
                entered = principal
        whole = bytes(body)
        body.clear()
        _check(whole)
        yield _replayed({"type": "http.request", "body": whole, "more_body": False}, receive)
    finally:
        if entered is not None:
            large.leave(entered)


def _bounded(value: object, validate: ValidatorFunctionWrapHandler) -> object:
    try:
        return validate(value)
    except ValidationError as error:
        count = error.error_count()
        if count <= _MAX_LISTED_ERRORS:
            raise
        # To format every error would take seconds and hundreds of megabytes.
        raise PydanticCustomError(
            TOO_MANY_ERRORS,
            "{count} errors here; check first what they have in common.",
            {"count": count},
        ) from None


BOUNDED: Final = WrapValidator(_bounded)
"""For the body of every route, as in `Annotated[Cart, BOUNDED]`: bounds the cost of reporting its errors."""


def at_most(count: int) -> BeforeValidator:
    """For an array or object: checks its length before its elements (`max_length` checks it after them)."""

    def check(value: T) -> T:
        if isinstance(value, list | tuple | dict) and len(cast("list[object]", value)) > count:
            raise PydanticCustomError(
                "too_long",
                "At most {max_length} items, not {actual_length}.",
                {"max_length": count, "actual_length": len(cast("list[object]", value))},
            )
        return value

    return BeforeValidator(check)


def _check_headers(headers: Headers, largest: int) -> None:
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > largest:
        raise _too_large(largest)
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"identity", ""}:
        problem = Problem(415, "unsupported_content_encoding", "Send the body without a Content-Encoding.")
        raise problem.with_headers({"Accept-Encoding": "identity"})


def _too_large(largest: int) -> Problem:
    return Problem(413, "body_too_large", f"The body is larger than {largest} bytes.")


def _replayed(message: Message, then: Receive) -> Receive:
    given = [message]

    async def receive() -> Message:
        return given.pop() if given else await then()

    return receive


def _check(body: bytes) -> None:
    # The parser would also accept UTF-16 and UTF-32, in which an escape looks different; JSON on the wire is UTF-8.
    if b"\x00" in body or not _is_utf8(body):
        raise Problem(422, "invalid_request", "The body is not UTF-8.")
    if len(body) > SMALL_BODY and body.count(b",") + body.count(b"[") + body.count(b"{") > MAX_VALUES:
        raise Problem(422, "invalid_request", f"The body has more than {MAX_VALUES} members and elements.")
    # Both can only be in JSON as an escape, so the check of nearly every body ends here.
    if _ESCAPED.search(body) is None:
        return
    try:
        content: object = json.loads(body)
    except (ValueError, RecursionError):
        return  # not JSON: the route's own validation says so
    path = _unstorable(content)
    if path is not None:
        message = "A string contains NUL or half of a surrogate pair."
        raise Problem(422, "invalid_request", f"{path}: {message}", (FieldError(pointer=path, message=message),))


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _unstorable(content: object) -> str | None:
    """The JSON pointer of a string that cannot be stored, or None.

    The pointer is built only when one is found: building it for every member would copy all names each time.
    """
    if isinstance(content, str):
        return "" if _UNSTORABLE.search(content) else None
    # No recursion: deep nesting must not break the server.
    path: list[str] = []
    left = [_members(content)]
    while left:
        name, value = next(left[-1], (None, None))
        if name is None:
            left.pop()
            if path:
                path.pop()
        elif _UNSTORABLE.search(name):
            return _pointer(path)
        elif isinstance(value, str):
            if _UNSTORABLE.search(value):
                return _pointer([*path, name])
        elif isinstance(value, dict | list):
            path.append(name)
            left.append(_members(cast("object", value)))
    return None


def _members(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        return iter(cast("dict[str, object]", value).items())
    if isinstance(value, list):
        return ((str(index), element) for index, element in enumerate(cast("list[object]", value)))
    return iter(())


def _pointer(path: list[str]) -> str:
    return "".join(f"/{escape(name)}" for name in path)
