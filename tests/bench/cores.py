"""The value of another core: pure Python on all cores at once and on one alone.

Cores of a virtual machine may be the threads of one physical core: two busy ones are then hardly faster than one, and
each process needs more CPU time for the same work while others run.
"""

import asyncio
import os
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Final

_WARM_UP_SECONDS: Final = 0.2


def spin(seconds: float) -> float:
    """Create and drop objects for `seconds`; returns the number per second."""
    count, begun = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - begun) < seconds:
        count += len({number: (number, str(number)) for number in range(1000)})
    return count / elapsed


async def compare(seconds: float) -> tuple[float, float]:
    """Objects per second of one process, and of a process per core together."""
    cores, loop = os.cpu_count() or 1, asyncio.get_running_loop()
    with ProcessPoolExecutor(cores, get_context("spawn")) as pool:

        async def spinning(processes: int, duration: float) -> float:
            return sum(await asyncio.gather(*(loop.run_in_executor(pool, spin, duration) for _ in range(processes))))

        await spinning(cores, _WARM_UP_SECONDS)
        return await spinning(1, seconds), await spinning(cores, seconds)
