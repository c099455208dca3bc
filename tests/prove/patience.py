"""Waiting for what can only be asked for."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

LOOK: Final = 0.05
"""Seconds between two looks."""


async def until(true: Callable[[], Awaitable[bool]], seconds: float) -> bool:
    """Ask again and again until the answer is yes; False when it is not in time."""
    deadline = time.monotonic() + seconds
    while not await true():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(LOOK)
    return True
