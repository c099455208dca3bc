"""The command line: `python -m services.notifications {api|worker|migrate|verify|dead-letters|positions}`."""

import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Final

from services.notifications.api import build
from services.notifications.handlers import verifying
from services.notifications.handlers.library import Library
from services.notifications.settings import Settings
from services.notifications.worker import spec
from shared.postgres.checks import Check
from shared.postgres.pool import Pool
from shared.process import verify
from shared.process.door import Door


def _verify(settings: Settings, pool: Pool, sample: int) -> AsyncIterator[Check]:
    return verifying.verify(Library.of(settings), pool, sample, datetime.now(UTC))


DOOR: Final = Door(Settings, spec, build, (verify.command(_verify, "mails", sample=1000),))

if __name__ == "__main__":
    sys.exit(DOOR.open())
