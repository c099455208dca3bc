"""Errors and warnings about a document, with their places."""

from collections.abc import Sequence
from typing import NamedTuple


class Fault(NamedTuple):
    """One error or warning: a JSON pointer into the document, and a message."""

    pointer: str
    message: str


class DocumentError(Exception):
    """The document is refused; `faults` lists all its errors, at least one."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(f"{fault.pointer}: {fault.message}" for fault in faults))
        self.faults = tuple(faults)


def pointer(*steps: str | int) -> str:
    """The JSON pointer (RFC 6901) with these steps."""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in steps)
