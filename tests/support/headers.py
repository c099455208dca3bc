"""Converts a producer's headers to those of a record."""

from collections.abc import Iterable

from shared.contracts.envelope import Headers


def in_bytes(headers: Iterable[tuple[str | bytes, bytes | None]]) -> Headers:
    """The headers with their names as bytes; a lone surrogate in a name becomes what `surrogatepass` makes of it."""
    return tuple(
        (name if isinstance(name, bytes) else name.encode("utf-8", "surrogatepass"), content)
        for name, content in headers
    )
