"""The door: `python -m services.referrals {api|worker|migrate|verify|day|dead-letters|positions}`."""

import sys
from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Final

from services.referrals.api import build
from services.referrals.handlers import day, verifying
from services.referrals.settings import Settings
from services.referrals.worker import spec
from shared.postgres.checks import Check
from shared.postgres.pool import Pool
from shared.process import verify
from shared.process.day import command
from shared.process.door import Door


def _verify(_settings: Settings, pool: Pool, sample: int) -> AsyncIterator[Check]:
    return verifying.verify(pool, sample)


async def _day(settings: Settings, pool: Pool, now: datetime) -> Counter[str]:
    return await day.sweep(pool, now, settings.key())


DOOR: Final = Door(
    Settings,
    spec,
    build,
    (
        verify.command(_verify, "referrals"),
        command(Settings, _day, "apply what falls due: holds, windows and flags that end", day.LEFT),
    ),
)

if __name__ == "__main__":
    sys.exit(DOOR.open())
