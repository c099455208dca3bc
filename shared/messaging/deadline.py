"""A bound on how long a handler computes in one go, while its transaction holds locks and the event loop stands still.

Only the thread that computes can be made to stop, and only by a signal: a watchdog in another thread sends it
(`shared.process.pulse`), and what was computed in the meantime is given up by `FoldTooLongError`.
"""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

FOLD_SECONDS: Final = 10.0
"""Seconds that a handler may compute without returning to the event loop."""

_LIMIT: Final[ContextVar[float | None]] = ContextVar("seconds", default=None)


class FoldTooLongError(TimeoutError):
    """A handler computed for too long without returning to the event loop."""


@contextmanager
def limit(seconds: float) -> Generator[None]:
    """What is computed in here, or in tasks that are started in here, may be interrupted after so many seconds."""
    token = _LIMIT.set(seconds)
    try:
        yield
    finally:
        _LIMIT.reset(token)


def interrupt(stuck: float) -> None:
    """Give up what is being computed, where it has a limit that is passed; `stuck` seconds went by without the loop.

    Called by the handler of a signal, thus in the context of what it interrupts: all else is left alone.

    Raises:
        FoldTooLongError: the limit is passed.
    """
    seconds = _LIMIT.get()
    if seconds is not None and stuck >= seconds:
        raise FoldTooLongError(f"the handler computed for {stuck:.0f} seconds without returning to the event loop")
