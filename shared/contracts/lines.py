"""The lines of an order in their stored form, unpacked only on access.

A basket has many lines, and most decisions about it need none of them.
"""

from collections.abc import Iterator, Sequence
from itertools import starmap
from operator import attrgetter, itemgetter
from typing import Final, overload

import msgspec

from shared.contracts.fields import LINE
from shared.contracts.shop import Line

_LINE: Final = attrgetter(*LINE)
_AMOUNT: Final = itemgetter(LINE.index("line_id"), LINE.index("amount"))


class PackedLines(Sequence[Line]):
    """The lines of an order as JSON (an array of arrays), unpacked on first access."""

    __slots__ = ("_lines", "json")

    def __init__(self, json: bytes) -> None:
        self.json = json
        self._lines: tuple[Line, ...] | None = None

    def unpacked(self) -> tuple[Line, ...]:
        """The lines."""
        if self._lines is None:
            self._lines = tuple(starmap(Line, msgspec.json.decode(self.json)))
        return self._lines

    def __len__(self) -> int:
        return len(self.unpacked())

    def __bool__(self) -> bool:
        return self.json != b"[]"

    def __iter__(self) -> Iterator[Line]:
        return iter(self.unpacked())

    @overload
    def __getitem__(self, index: int) -> Line: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Line, ...]: ...
    def __getitem__(self, index: int | slice) -> Line | tuple[Line, ...]:
        return self.unpacked()[index]

    def __eq__(self, other: object) -> bool:
        return self.unpacked() == (other.unpacked() if isinstance(other, PackedLines) else other)

    def __hash__(self) -> int:
        return hash(self.unpacked())

    def __repr__(self) -> str:
        return repr(self.unpacked())


def pack_lines(lines: Sequence[Line]) -> bytes:
    """Encode lines in the form of `PackedLines`."""
    return lines.json if isinstance(lines, PackedLines) else msgspec.json.encode(list(map(_LINE, lines)))


def line_amounts(lines: Sequence[Line]) -> list[tuple[str, str]]:
    """The id and the amount of each line; no line is made of packed ones."""
    if isinstance(lines, PackedLines):
        return list(map(_AMOUNT, msgspec.json.decode(lines.json)))
    return [(line.line_id, line.amount) for line in lines]
