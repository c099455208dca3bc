"""A kind of document: what a service supplies to the mechanism."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

from pydantic import BaseModel

from shared.programs.faults import Fault

ONLY: Final = ""
"""The id of the document of a kind that has just one."""

_MAX_COMPILED: Final = 512


class Key(NamedTuple):
    """The identity of a document: its kind, and its id within the kind."""

    kind: str
    id: str = ONLY


class Numbered(Protocol):
    """A compiled version with its number."""

    @property
    def version(self) -> int:
        """The version's number."""
        ...


D = TypeVar("D", bound=BaseModel)
C = TypeVar("C", bound=Numbered)


@dataclass(frozen=True, eq=False)
class Kind(Generic[D, C]):
    """Earning rules, the tier program, templates, …: all functions are pure.

    `name` is stored with every version. `model` reads every version that was ever published; what is required of new
    versions only belongs in `check`, which raises `DocumentError`. `lint` returns the warnings about a valid document
    that would be in force from an instant on. `compile` turns a version's number and document into the form that
    handlers use; it is called once per version.
    """

    name: str
    model: type[D]
    check: Callable[[D], None]
    lint: Callable[[D, datetime], Sequence[Fault]]
    compile: Callable[[int, D], C]


def examine(kind: Kind[D, Any], document: D, moment: datetime) -> Sequence[Fault]:
    """Check a document, and return the warnings about it if it is in force from `moment` on.

    Raises:
        DocumentError: its parts contradict each other, or are too many.
    """
    kind.check(document)
    return kind.lint(document, moment)


def dump(document: BaseModel) -> dict[str, Any]:
    """The document as it is stored: JSON with every default spelled out."""
    return document.model_dump(mode="json", by_alias=True)


@lru_cache(maxsize=_MAX_COMPILED)
def compiled(kind: Kind[Any, C], version: int, text: str) -> C:
    """The version whose document is this JSON text: compiled once, since a published version never changes."""
    return kind.compile(version, kind.model.model_validate_json(text))


class Book(Generic[C]):
    """The versions of a document that a batch needs."""

    def __init__(self, versions: Iterable[tuple[datetime, C]]) -> None:
        """`versions` with the instants from which they are in force."""
        self._versions = sorted(versions, key=lambda entry: (entry[0], entry[1].version))
        self._starts = [start for start, _ in self._versions]
        self._by_number = {version.version: version for _, version in self._versions}

    def in_force(self, moment: datetime) -> C:
        """The version in force at an instant: of those effective by then, the one that came into force last."""
        return self._versions[bisect_right(self._starts, moment) - 1][1]

    def version(self, number: int) -> C:
        """A version by its number.

        Raises:
            KeyError: it was not loaded.
        """
        return self._by_number[number]

    def __contains__(self, number: int) -> bool:
        return number in self._by_number

    def __iter__(self) -> Iterator[tuple[datetime, C]]:
        """The versions with the instants from which they are in force, in this order."""
        return iter(self._versions)

    def __len__(self) -> int:
        return len(self._versions)
