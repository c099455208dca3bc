"""`verify`: checks the database in one pass, and prints a line for each check."""

import argparse
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

from shared.messaging import erasure
from shared.postgres import checks
from shared.postgres.checks import Check
from shared.postgres.pool import Pool, open_pool
from shared.process.door import Command
from shared.process.settings import ServiceSettings

S = TypeVar("S", bound=ServiceSettings)

Verify = Callable[[S, Pool, int], AsyncIterator[Check]]
"""The checks of a service; the number is the size of the sample that is recomputed."""


def command(verify: Verify[S], judged: str, *, sample: int = 10_000) -> Command[S]:
    """The `verify` command of a service; `judged` names the items of the sample, `sample` is its default size."""

    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--sample",
            type=_count,
            default=sample,
            metavar="N",
            help=f"number of {judged} to recompute (default {sample:,})",
        )

    async def run(arguments: argparse.Namespace, settings: S) -> int:
        """Print a line for each check; returns 1 if one fails."""
        failed = False
        async with await open_pool(
            settings.database_url, application=f"wafa-{settings.service}-verify", max_size=1
        ) as pool:
            async for check in _all(verify(settings, pool, arguments.sample), pool):
                failed |= bool(check.offenders)
                result = f"FAILED: {', '.join(check.offenders)}" if check.offenders else "ok"
                print(f"{check.name}: {result}", flush=True)  # noqa: T201 a command line prints
        return int(failed)

    return Command("verify", "check the database in one pass", add_arguments, run)


async def _all(own: AsyncIterator[Check], pool: Pool) -> AsyncIterator[Check]:
    """The checks of a service, then those of the tables that all services have."""
    async for check in own:
        yield check
    async with checks.snapshot(pool) as connection:
        async for check in checks.ask(connection, (erasure.query(),)):
            yield check


def _count(text: str) -> int:
    count = int(text)
    if count < 0:
        raise argparse.ArgumentTypeError(f"{text}: has to be 0 or more")
    return count
