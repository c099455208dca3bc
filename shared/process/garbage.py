"""Garbage collector settings for a process with many short-lived objects and few cycles."""

import gc
from typing import Final

_THRESHOLD: Final = 20_000


def spare() -> None:
    """Exclude all present objects from collection, and collect new ones more rarely.

    Requests leave almost no cycles, but by default every second one causes a collection of the youngest generation,
    and some a collection of all objects.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_THRESHOLD)
