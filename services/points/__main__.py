"""The door of the points service: `python -m services.points COMMAND`."""

import argparse
import sys

from services.points import api, handlers, worker
from services.points.settings import Settings
from shared.postgres.pool import open_pool
from shared.process.door import Command, Door


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sample", type=int, default=10_000, metavar="N", help="orders and receipts judged anew")


async def _verify(arguments: argparse.Namespace, settings: Settings) -> int:
    """Print a line for each check; 1 when one fails."""
    failed = False
    async with await open_pool(settings.database_url, application="wafa-points-verify", max_size=1) as pool:
        async for check in handlers.verify(pool, arguments.sample):
            failed |= bool(check.offenders)
            found = f"FAILED: {', '.join(check.offenders)}" if check.offenders else "ok"
            print(f"{check.name}: {found}")  # noqa: T201 a command line prints
    return int(failed)


if __name__ == "__main__":
    verify = Command("verify", "check the books in one pass", _add_arguments, _verify)
    sys.exit(Door(Settings, worker.spec, api.build, (verify,)).open())
