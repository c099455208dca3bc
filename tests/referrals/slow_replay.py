"""A process that runs replays slowly, two sign-ups at a time: `python -m tests.referrals.slow_replay URL`.

It is there to be killed.
"""

import asyncio
import sys
from datetime import UTC, datetime
from typing import Any

from services.referrals.handlers import replaying
from shared.postgres import slices
from shared.postgres.pool import Connection, open_pool


async def main(url: str) -> None:
    """Run the job, and wait in each transaction before it is committed."""
    finish = slices.finish

    async def finish_slowly(connection: Connection, *arguments: Any) -> None:
        await finish(connection, *arguments)
        await asyncio.sleep(0.2)

    slices.finish, replaying.SLICE = finish_slowly, 2  # pyright: ignore[reportConstantRedefinition]
    async with await open_pool(url, application="wafa-slow-job") as pool:
        await replaying.run_replays(pool, datetime.now(UTC), None)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
