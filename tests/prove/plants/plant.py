"""A planted bug, and the kill of its process at the critical moment."""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.prove.plan import Fault

FOLDER: Final = "PROVE_PLANT_FOLDER"
"""Name of the environment variable with the folder where processes count their kills."""


SETTLING: Final = "none, but tier programs settle soon"
"""The name of the plant that is no bug."""


@dataclass(frozen=True, slots=True)
class Plant:
    """A bug: its name, the function that plants it, the checks that have to find it, and the faults that provoke it.

    `of_api` plants it in the APIs too. `workers` is the number of workers of points, `of_tiers` of those of tiers, and
    `of_referrals` of those of referrals.
    """

    name: str
    plant: Callable[[], None]
    found_by: tuple[str, ...]
    faults: tuple[Fault, ...] = ()
    of_api: bool = False
    workers: int = 2
    of_tiers: int = 0
    of_referrals: int = 0


def die_here(moment: str, times: int = 2, skipped: int = 3) -> None:
    """Kill this process (`kill -9`) when it reaches a moment: `times` times in all, after `skipped` passes."""
    folder = Path(os.environ[FOLDER])
    passed = _counts.get(moment, 0) + 1
    _counts[moment] = passed
    if passed <= skipped:
        return
    for number in range(times):
        try:
            (folder / f"{moment}-{number}").touch(exist_ok=False)
        except FileExistsError:
            continue
        os.kill(os.getpid(), signal.SIGKILL)


_counts: dict[str, int] = {}
