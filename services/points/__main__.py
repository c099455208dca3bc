"""The door of the points service: `python -m services.points COMMAND`."""

import argparse
import sys
from datetime import UTC, datetime

from services.points import api, worker
from services.points.handlers import day, verifying
from services.points.settings import Settings
from shared.contracts.values import parse_instant
from shared.postgres.pool import open_pool
from shared.process.door import Command, Door


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sample", type=int, default=10_000, metavar="N", help="orders and receipts judged anew")


async def _verify(arguments: argparse.Namespace, settings: Settings) -> int:
    """Print a line for each check; 1 when one fails."""
    failed = False
    async with await open_pool(settings.database_url, application="wafa-points-verify", max_size=1) as pool:
        async for check in verifying.verify(pool, arguments.sample):
            failed |= bool(check.offenders)
            found = f"FAILED: {', '.join(check.offenders)}" if check.offenders else "ok"
            print(f"{check.name}: {found}")  # noqa: T201 a command line prints
    return int(failed)


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


if __name__ == "__main__":
    verify = Command("verify", "check the books in one pass", _add_arguments, _verify)
    pipeline = Command("day", "run the daily pipeline: what is due, what will expire, birthdays", _add_instant, _day)
    sys.exit(Door(Settings, worker.spec, api.build, (verify, pipeline)).open())
