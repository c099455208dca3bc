"""The command line: `python -m services.notifications {api|worker|migrate|verify|day|dead-letters|positions}`."""

import sys
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Final

from services.notifications.api import build
from services.notifications.handlers import day, verifying
from services.notifications.handlers.library import Library
from services.notifications.handlers.sweeping import LEFT
from services.notifications.settings import Settings
from services.notifications.worker import open_tools, spec
from shared.postgres.checks import Check
from shared.postgres.pool import Pool
from shared.process import verify
from shared.process.day import command
from shared.process.door import Door


def _verify(settings: Settings, pool: Pool, sample: int) -> AsyncIterator[Check]:
    return verifying.verify(Library.of(settings), pool, sample, datetime.now(UTC))


async def _day(settings: Settings, pool: Pool, now: datetime) -> Counter[str]:
    tools = open_tools(settings)
    return await day.run(pool, now, tools.desk, {sender.channel: sender.run for sender in tools.senders})


DOOR: Final = Door(
    Settings,
    spec,
    build,
    (
        verify.command(_verify, "mails", sample=1000),
        command(Settings, _day, "do the work of all jobs: waits, dates, inactivity, and what is due to be sent", LEFT),
    ),
)

if __name__ == "__main__":
    sys.exit(DOOR.open())
