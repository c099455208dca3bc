"""Faults of a document: what is wrong or doubtful, and where."""

from collections.abc import Sequence
from typing import NamedTuple


class Fault(NamedTuple):
    """An error or a warning: a JSON pointer into the document, and a message."""

    pointer: str
    message: str


class DocumentError(Exception):
    """The document is refused; `faults` lists every error in it."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(f"{fault.pointer}: {fault.message}" for fault in faults))
        self.faults = tuple(faults)


def pointer(*steps: str | int) -> str:
    """A JSON pointer (RFC 6901)."""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in steps)
