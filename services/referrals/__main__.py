"""The door: `python -m services.referrals {api|worker|migrate|verify|dead-letters|positions}`."""

import sys
from collections.abc import AsyncIterator
from typing import Final

from services.referrals.api import build
from services.referrals.handlers import events
from services.referrals.settings import Settings
from services.referrals.worker import spec
from shared.postgres.checks import Check
from shared.postgres.pool import Pool
from shared.process import verify
from shared.process.door import Door


def _verify(_settings: Settings, pool: Pool, sample: int) -> AsyncIterator[Check]:
    return events.verify(pool, sample)


DOOR: Final = Door(Settings, spec, build, (verify.command(_verify, "referrals"),))

if __name__ == "__main__":
    sys.exit(DOOR.open())
