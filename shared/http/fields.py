"""Fields of answers."""

from typing import Final

from pydantic import Field

OMITTED_IF_NONE: Final = Field(exclude_if=lambda value: value is None)
"""`Annotated[datetime | None, OMITTED_IF_NONE]`: the member is absent instead of null."""
