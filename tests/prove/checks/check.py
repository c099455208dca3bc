"""The result of a check."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

MOST_SHOWN: Final = 20
"""Maximum number of offenders in a report."""


@dataclass(frozen=True, slots=True)
class Check:
    """A check: its group, its name, the number of checked items, and the first offenders."""

    group: int
    name: str
    checked: int
    offenders: tuple[str, ...]
    count: int
    """Total number of offenders."""


def check(group: int, name: str, checked: int, offenders: Iterable[object]) -> Check:
    """Create a check from all its offenders; it keeps the first ones."""
    every = [str(offender) for offender in offenders]
    return Check(group, name, checked, tuple(every[:MOST_SHOWN]), len(every))
