"""The garbage collector, where a process makes many short-lived objects and few cycles."""

import gc
from typing import Final

_THRESHOLD: Final = 20_000


def spare() -> None:
    """Look at what was made at the start never again, and at new objects more rarely.

    Requests leave next to no cycles; by default every second one is followed by a look at all that is young, and some
    by one at every object of the process.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_THRESHOLD)
