"""The door of the points service: `python -m services.points COMMAND`."""

import sys
from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Final

from services.points import api, worker
from services.points.handlers import day, verifying
from services.points.settings import Settings
from shared.postgres.checks import Check
from shared.postgres.pool import Pool
from shared.process import verify
from shared.process.day import command
from shared.process.door import Door


def _verify(_settings: Settings, pool: Pool, sample: int) -> AsyncIterator[Check]:
    return verifying.verify(pool, sample)


async def _day(_settings: Settings, pool: Pool, now: datetime) -> Counter[str]:
    return await day.run(pool, now)


DOOR: Final = Door(
    Settings,
    worker.spec,
    api.build,
    (
        verify.command(_verify, "orders and receipts"),
        command(Settings, _day, "run the daily pipeline: what is due, what will expire, birthdays", day.LEFT),
    ),
)

if __name__ == "__main__":
    sys.exit(DOOR.open())
