"""What a check found."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

MOST_SHOWN: Final = 20
"""How many offenders a check names."""


@dataclass(frozen=True, slots=True)
class Check:
    """A check of a run: the number of the group that it belongs to, how much it looked at, and the offenders."""

    group: int
    name: str
    looked_at: int
    offenders: tuple[str, ...]
    found: int
    """How many offenders there are in all."""


def check(group: int, name: str, looked_at: int, offenders: Iterable[object]) -> Check:
    """A check with its offenders, of which the first ones are named."""
    every = [str(offender) for offender in offenders]
    return Check(group, name, looked_at, tuple(every[:MOST_SHOWN]), len(every))
