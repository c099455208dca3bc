"""A process that runs a job slowly, two customers at a time: `python -m tests.tiers.slow_job URL JOB INSTANT`.

JOB is `simulate`, `apply` or `sweep`.

It is there to be killed.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Final

from services.tiers.handlers import applying, day, simulating
from shared.postgres import slices
from shared.postgres.pool import Connection, Pool, open_pool

JOBS: Final[Mapping[str, Callable[[Pool, datetime], Awaitable[Any]]]] = {
    "simulate": simulating.simulate,
    "apply": applying.apply_versions,
    "sweep": day.sweep,
}


async def main(url: str, job: str, now: datetime) -> None:
    """Run the job, and wait in each transaction before it is committed."""
    finish, apply_due = slices.finish, day.apply_due

    async def finish_slowly(connection: Connection, *arguments: Any) -> None:
        await finish(connection, *arguments)
        await asyncio.sleep(0.2)

    async def sweep_slowly(connection: Connection, *arguments: Any) -> day.Counts:
        counts = await apply_due(connection, *arguments)
        await asyncio.sleep(0.2)
        return counts

    slices.finish, day.apply_due = finish_slowly, sweep_slowly
    simulating.SLICE = applying.SLICE = day.CUSTOMERS = 2
    async with await open_pool(url, application="wafa-slow-job") as pool:
        await JOBS[job](pool, now)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], datetime.fromisoformat(sys.argv[3])))
