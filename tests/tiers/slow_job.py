"""A process that runs a job slowly, in slices of two customers: `python -m tests.tiers.slow_job URL simulate|apply`.

It is there to be killed.
"""

import asyncio
import sys
from datetime import datetime
from typing import Any

from services.tiers.handlers import applying, simulating
from services.tiers.store import slices
from shared.postgres.pool import Connection, open_pool


async def main(url: str, job: str, now: datetime) -> None:
    """Run the job, and wait in the transaction of each slice before it is committed."""
    finish = slices.finish

    async def finish_slowly(connection: Connection, *arguments: Any) -> None:
        await finish(connection, *arguments)
        await asyncio.sleep(0.2)

    slices.finish = finish_slowly
    simulating.SLICE = applying.SLICE = 2
    async with await open_pool(url, application="wafa-slow-job") as pool:
        await (simulating.simulate if job == "simulate" else applying.apply_versions)(pool, now)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], datetime.fromisoformat(sys.argv[3])))
