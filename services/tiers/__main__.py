"""The door: `python -m services.tiers {api|worker|migrate|verify|day|dead-letters|positions}`."""

import sys
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Final

from services.tiers.api import build
from services.tiers.handlers import day, verifying
from services.tiers.settings import Settings
from services.tiers.worker import spec
from shared.postgres.checks import Check
from shared.postgres.pool import Pool
from shared.process import verify
from shared.process.day import command
from shared.process.door import Door


def _verify(_settings: Settings, pool: Pool, sample: int) -> AsyncIterator[Check]:
    return verifying.verify(pool, sample, datetime.now(UTC))


async def _day(_settings: Settings, pool: Pool, now: datetime) -> Counter[str]:
    return await day.run(pool, now)


DOOR: Final = Door(
    Settings,
    spec,
    build,
    (
        verify.command(_verify, "customers"),
        command(Settings, _day, "apply what falls due: tiers that end, and warnings of tiers at risk", day.LEFT),
    ),
)

if __name__ == "__main__":
    sys.exit(DOOR.open())
