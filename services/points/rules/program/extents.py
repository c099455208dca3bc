"""Extents: the sets of values that satisfy a condition, which the linter intersects and compares."""

from math import lcm
from typing import Final, NamedTuple


class Span(NamedTuple):
    """The numbers from `start` up to, but not including, `end`."""

    start: int
    end: int


class Multiples(NamedTuple):
    """The multiples of a number."""

    of: int


Extent = frozenset[str] | frozenset[int] | Span | Multiples
"""The values that satisfy a condition. Two conditions of one kind have extents of one type."""

NO_END: Final = 10**40

YES: Final = frozenset({"yes"})
"""The extent of a condition without parameters."""


def meet(left: Extent, right: Extent) -> Extent:
    """The values in both extents."""
    if isinstance(left, Span) and isinstance(right, Span):
        return Span(max(left.start, right.start), min(left.end, right.end))
    if isinstance(left, Multiples) and isinstance(right, Multiples):
        return Multiples(lcm(left.of, right.of))
    assert isinstance(left, frozenset), "extents of one kind have one type"
    assert isinstance(right, frozenset), "extents of one kind have one type"
    return left & right


def is_empty(extent: Extent) -> bool:
    """Whether no value satisfies the condition."""
    if isinstance(extent, Span):
        return extent.start >= extent.end
    return isinstance(extent, frozenset) and not extent


def is_within(narrow: Extent, wide: Extent) -> bool:
    """Whether every value of one extent is in the other."""
    if isinstance(narrow, frozenset) and isinstance(wide, frozenset):
        return narrow.issubset(wide)
    return meet(narrow, wide) == narrow
