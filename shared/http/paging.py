"""Lists in pages, newest first, with opaque cursors."""

import base64
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Final, Generic, TypeVar, cast

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import to_json

from shared.http.problems import FieldError, Problem

T = TypeVar("T")

DEFAULT_LIMIT: Final = 50

_LONGEST: Final = 1024
_BIGINT: Final = 2**63

Limit = Annotated[int, Query(ge=1, le=200, description="Items per page.")]
"""`limit: Limit = DEFAULT_LIMIT`."""

After = Annotated[str | None, Query(max_length=_LONGEST, description="The `next` of the previous page.")]
"""`after: After = None`."""


class Page(BaseModel, Generic[T]):
    """A page of a list."""

    model_config = ConfigDict(frozen=True)

    data: Sequence[T] = Field(description="The items of the page.")
    next: str | None = Field(description="Cursor for `after` of the next page; null on the last page.")


def page(found: Sequence[T], limit: int, position: Callable[[T], Sequence[object]]) -> Page[T]:
    """The page of at most `limit` items, out of up to `limit` + 1 that were fetched.

    `position` returns the values that an item is sorted by; those of the page's last item become the cursor.
    """
    shown = found[:limit]
    return Page(data=shown, next=encode_cursor(position(shown[-1])) if len(found) > limit else None)


def encode_cursor(position: Sequence[object]) -> str:
    """The opaque cursor of a position: strings, integers, instants, UUIDs."""
    return base64.urlsafe_b64encode(to_json(list(position))).rstrip(b"=").decode()


def decode_cursor(after: str | None, shape: type[T]) -> T | None:
    """The position in a cursor, validated as `shape` (such as `tuple[datetime, UUID]`); None without a cursor.

    Callers can make up cursors, so only values that PostgreSQL can store are accepted: no NUL, no integer beyond a
    bigint, no instant without an offset.

    Raises:
        Problem: 400, it is not a cursor of this list.
    """
    if after is None:
        return None
    try:
        content = base64.b64decode(after + "=" * (-len(after) % 4), altchars=b"-_", validate=True)
        _check(json.loads(content))
        position = cast("T", _adapter(shape).validate_json(content))
        _check(list(cast("Sequence[object]", position)))
    except (ValueError, OverflowError, RecursionError, ValidationError):
        error = FieldError(pointer="/query/after", message="Not a cursor of this list.")
        raise Problem(400, "invalid_cursor", "after: not a cursor of this list.", (error,)) from None
    return position


@lru_cache(maxsize=64)
def _adapter(shape: Any) -> TypeAdapter[Any]:  # noqa: ANN401 (any type)
    return TypeAdapter(shape, config=ConfigDict(strict=True))


def _check(position: object) -> None:
    if not isinstance(position, list):
        raise ValueError("not a list")  # noqa: TRY004 (every misfit is a ValueError here)
    for value in cast("list[object]", position):
        if isinstance(value, str):
            if "\x00" in value:
                raise ValueError("NUL")
            value.encode()
        elif isinstance(value, int):
            if not -_BIGINT <= value < _BIGINT:
                raise ValueError("not a bigint")
        elif isinstance(value, datetime):
            if value.tzinfo is None:
                raise ValueError("no offset")
            value.astimezone(UTC)
