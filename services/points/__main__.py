"""The door of the points service: `python -m services.points COMMAND`."""

import argparse
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Final

from services.points import api, worker
from services.points.handlers import day, verifying
from services.points.settings import Settings
from shared.contracts.values import parse_instant
from shared.postgres.checks import Check
from shared.postgres.pool import Pool, open_pool
from shared.process import verify
from shared.process.door import Command, Door


def _verify(_settings: Settings, pool: Pool, sample: int) -> AsyncIterator[Check]:
    return verifying.verify(pool, sample)


def _add_instant(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--at", type=_instant, default=None, metavar="INSTANT", help="RFC 3339, with offset; now unless told"
    )


def _instant(text: str) -> datetime:
    try:
        return parse_instant(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from None


async def _day(arguments: argparse.Namespace, settings: Settings) -> int:
    """Run the daily pipeline as of an instant, and print what it did; 1 when a customer's books refused it."""
    async with await open_pool(settings.database_url, application="wafa-points-day", max_size=4) as pool:
        counts = await day.run(pool, arguments.at or datetime.now(UTC))
    for what, count in counts.items():
        print(f"{what}: {count}")  # noqa: T201 a command line prints
    return int(counts[day.LEFT] > 0)


DOOR: Final = Door(
    Settings,
    worker.spec,
    api.build,
    (
        verify.command(_verify, "orders and receipts"),
        Command("day", "run the daily pipeline: what is due, what will expire, birthdays", _add_instant, _day),
    ),
)

if __name__ == "__main__":
    sys.exit(DOOR.open())
