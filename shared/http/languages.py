"""The language of a response: `Accept-Language` (RFC 9110), matched by lookup (RFC 4647)."""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Annotated, Final, TypeVar

from fastapi import Header

T = TypeVar("T")

DEFAULT: Final = "en"

_LONGEST: Final = 1024
_RANGE: Final = re.compile(
    r"(?P<range>\*|[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*)"
    r"(?:[ \t]*;[ \t]*[qQ]=(?P<quality>0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?"
)

AcceptLanguage = Annotated[
    str | None,
    Header(
        alias="Accept-Language",
        description="The languages of names, by preference: `ar, en;q=0.5`. Where none of them is there: English, else "
        "the first language.",
    ),
]
"""`accept_language: AcceptLanguage = None`."""


def chosen(names: Mapping[str, T], accepted: str | None) -> T:
    """The name in the language that a header `Accept-Language` prefers; `names` by language tag, at least one.

    A range matches a tag that equals it, else a more general one (`ar` for `ar-SA`), else a more specific one. Where
    nothing matches, it is English, else the first language; one that the header excludes (`q=0`) only if all are.
    """
    return names[_chosen(tuple(names), accepted[:_LONGEST] if accepted else "")]


@lru_cache(maxsize=1024)
def _chosen(tags: tuple[str, ...], accepted: str) -> str:
    excluded, wanted = _ranges(accepted)
    lowered = {tag.replace("_", "-").lower(): tag for tag in reversed(tags)}
    left = {low: tag for low, tag in lowered.items() if not _is_excluded(low, excluded, wanted)} or lowered
    for range_ in wanted:
        if range_ == "*":
            break
        for candidate in (*_generalized(range_), *(low for low in reversed(left) if low.startswith(f"{range_}-"))):
            if candidate in left:
                return left[candidate]
    return left.get(DEFAULT) or next(reversed(left.values()))


def _ranges(accepted: str) -> tuple[frozenset[str], tuple[str, ...]]:
    """The excluded ranges of a header, and the others in the order of preference; malformed ones are skipped."""
    excluded: set[str] = set()
    wanted: list[tuple[float, str]] = []
    for part in accepted.split(","):
        match = _RANGE.fullmatch(part.strip(" \t"))
        if match is None:
            continue
        quality = float(match["quality"] or 1)
        if quality:
            wanted.append((-quality, match["range"].lower()))
        else:
            excluded.add(match["range"].lower())
    return frozenset(excluded), tuple(range_ for _, range_ in sorted(wanted, key=lambda item: item[0]))


def _generalized(range_: str) -> Iterator[str]:
    """A range, and what is left of it without its last subtags; a single letter belongs to the subtag after it."""
    parts = range_.split("-")
    while parts:
        yield "-".join(parts)
        parts.pop()
        if parts and len(parts[-1]) == 1:
            parts.pop()


def _is_excluded(tag: str, excluded: frozenset[str], wanted: Iterable[str]) -> bool:
    """Whether the most specific range of a header that matches a tag excludes it."""
    for range_ in _generalized(tag):
        if range_ in excluded:
            return True
        if range_ in wanted:
            return False
    return "*" in excluded
