"""Polls for a condition."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

LOOK: Final = 0.05
"""Seconds between two polls."""


async def until(true: Callable[[], Awaitable[bool]], seconds: float) -> bool:
    """Poll until a condition is true; returns False if it is not in time."""
    deadline = time.monotonic() + seconds
    while not await true():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(LOOK)
    return True
