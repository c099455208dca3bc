"""A planted bug, and how it dies at its weak moment."""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.prove.plan import Fault

FOLDER: Final = "PROVE_PLANT_FOLDER"
"""The environment's name of the folder where processes note how often they died."""


@dataclass(frozen=True, slots=True)
class Plant:
    """A bug: what it is called, what plants it, which checks have to find it, and which faults provoke it.

    `of_api` plants it in the APIs too; `workers` is how many there are.
    """

    name: str
    plant: Callable[[], None]
    found_by: tuple[str, ...]
    faults: tuple[Fault, ...] = ()
    of_api: bool = False
    workers: int = 2


def die_here(moment: str, times: int = 2, skipped: int = 3) -> None:
    """End this process as `kill -9` does: the first `times` that this moment comes, after it was let pass a bit."""
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
