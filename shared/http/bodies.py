"""Request bodies: how large they may be, how many at once, and what they may hold, before any route sees them.

Not a dependency of the routes: FastAPI reads and parses a body before it asks a dependency anything.
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
"""Bytes of the largest body that is read."""

SMALL_BODY: Final = 16_384
"""Bytes up to which a body counts as small: any number of small ones is handled at once."""

LARGE_AT_ONCE: Final = 16
"""Requests with a larger body that a process handles at once."""

LARGE_BY_PRINCIPAL: Final = 4
"""And those of one caller."""

MOST_VALUES: Final = 50_000
"""Members and elements of a JSON body, about: each becomes an object many times its size."""

_MOST_COUNTED_ERRORS: Final = 1_000

_ESCAPED: Final = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_UNKEEPABLE: Final = re.compile("[\x00\ud800-\udfff]")


class LargeBodies:
    """Counts the requests with a large body that are under way."""

    def __init__(self) -> None:
        self._by_principal = Counter[str]()

    def enter(self, principal: str) -> None:
        """Count one more request of a caller.

        Raises:
            Problem: 503, there are too many.
        """
        if self._by_principal.total() >= LARGE_AT_ONCE or self._by_principal[principal] >= LARGE_BY_PRINCIPAL:
            problem = Problem(503, "too_many_large_bodies", "Too many large bodies are being handled; try again.")
            raise problem.with_headers({"Retry-After": "1"})
        self._by_principal[principal] += 1

    def leave(self, principal: str) -> None:
        """A request of a caller is over."""
        self._by_principal[principal] -= 1
        if not self._by_principal[principal]:
            del self._by_principal[principal]


@asynccontextmanager
async def admitted(
    receive: Receive, headers: Headers, principal: str | None, large: LargeBodies
) -> AsyncGenerator[Receive]:
    """Read a body; what is given gives it again, to whoever asks for it.

    Without a principal only a small one is read.

    Raises:
        Problem: 408, it did not come whole; 413, it is too large; 415, it is compressed; 422, it holds what
            PostgreSQL cannot keep in a string (NUL or half of a surrogate pair), or too much; 503, too many large
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
                raise Problem(408, "body_incomplete", "The body did not come whole.")
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
        yield _first({"type": "http.request", "body": whole, "more_body": False}, receive)
    finally:
        if entered is not None:
            large.leave(entered)


def _bounded(value: object, validate: ValidatorFunctionWrapHandler) -> object:
    try:
        return validate(value)
    except ValidationError as error:
        count = error.error_count()
        if count <= _MOST_COUNTED_ERRORS:
            raise
        # To make words of each would take seconds and hundreds of megabytes.
        raise PydanticCustomError(
            TOO_MANY_ERRORS,
            "{count} things are wrong here; start with the shape of what is repeated.",
            {"count": count},
        ) from None


BOUNDED: Final = WrapValidator(_bounded)
"""For the body of every route, as in `Annotated[Cart, BOUNDED]`: what is wrong with it is told at a bounded cost."""


def at_most(count: int) -> BeforeValidator:
    """For an array or object: its length is checked before its elements are, which `max_length` does after."""

    def check(value: T) -> T:
        if isinstance(value, list | tuple | dict) and len(cast("list[object]", value)) > count:
            raise PydanticCustomError(
                "too_long",
                "At most {max_length}, not {actual_length}.",
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


def _first(message: Message, then: Receive) -> Receive:
    given = [message]

    async def receive() -> Message:
        return given.pop() if given else await then()

    return receive


def _check(body: bytes) -> None:
    # The parser would take UTF-16 and UTF-32 too, in which an escape looks otherwise; JSON on the wire is UTF-8.
    if b"\x00" in body or not _is_utf8(body):
        raise Problem(422, "invalid_request", "The body is not UTF-8.")
    if len(body) > SMALL_BODY and body.count(b",") + body.count(b"[") + body.count(b"{") > MOST_VALUES:
        raise Problem(422, "invalid_request", f"The body has more than {MOST_VALUES} members and elements.")
    # Both need an escape to stand in JSON, so nearly every body is done here.
    if _ESCAPED.search(body) is None:
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
    """The JSON pointer of a string that cannot be kept, or None.

    It is made only of what is found: a pointer for every member would take the length of its name each time.
    """
    if isinstance(content, str):
        return "" if _UNKEEPABLE.search(content) else None
    # No recursion: what is nested deeply may not break the server.
    path: list[str] = []
    left = [_members(content)]
    while left:
        name, value = next(left[-1], (None, None))
        if name is None:
            left.pop()
            if path:
                path.pop()
        elif _UNKEEPABLE.search(name):
            return _pointer(path)
        elif isinstance(value, str):
            if _UNKEEPABLE.search(value):
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
