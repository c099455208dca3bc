"""A limit on how long a handler computes without returning to the event loop, while its transaction holds locks.

Only a signal can interrupt a computing thread. A watchdog in another thread sends it (`shared.process.pulse`), and
its handler raises `FoldTooLongError` in the computation.
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
    """Allow computations in this context, and in tasks started in it, to be interrupted after `seconds`."""
    token = _LIMIT.set(seconds)
    try:
        yield
    finally:
        _LIMIT.reset(token)


def interrupt(stuck: float) -> None:
    """Interrupt the current computation if it exceeds its limit; the event loop has been blocked for `stuck` seconds.

    A signal handler calls it, so it runs in the context of the computation; those without a limit continue.

    Raises:
        FoldTooLongError: the limit is exceeded.
    """
    seconds = _LIMIT.get()
    if seconds is not None and stuck >= seconds:
        raise FoldTooLongError(f"the handler computed for {stuck:.0f} seconds without returning to the event loop")
