"""The result of a check."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

MOST_SHOWN: Final = 20
"""Maximum number of offenders in a report."""


@dataclass(frozen=True, slots=True)
class Check:
    """A check: its group, its name, the number of checked items, and the offenders."""

    group: int
    name: str
    looked_at: int
    offenders: tuple[str, ...]
    found: int
    """Total number of offenders."""


def check(group: int, name: str, looked_at: int, offenders: Iterable[object]) -> Check:
    """A check with the first of its offenders."""
    every = [str(offender) for offender in offenders]
    return Check(group, name, looked_at, tuple(every[:MOST_SHOWN]), len(every))
