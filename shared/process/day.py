"""`day`: applies by hand what falls due by time, as of an instant."""

import argparse
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

from shared.contracts.values import parse_instant
from shared.postgres.pool import Pool, open_pool
from shared.process.door import Command
from shared.process.settings import ServiceSettings

S = TypeVar("S", bound=ServiceSettings)

Run = Callable[[S, Pool, datetime], Awaitable[Counter[str]]]
"""Applies what is due as of an instant; returns what it did: numbers by name."""


def command(service: type[S], run: Run[S], does: str, left: str) -> Command[S]:
    """The `day` command of a service; `does` says what it runs, `left` names the number of failures."""

    async def run_as_of(arguments: argparse.Namespace, settings: S) -> int:
        """Run it and print what it did; returns 1 when it failed for a customer."""
        application = f"wafa-{service.service}-day"
        async with await open_pool(settings.database_url, application=application, max_size=4) as pool:
            counts = await run(settings, pool, arguments.at or datetime.now(UTC))
        for what, count in counts.items():
            print(f"{what}: {count}")  # noqa: T201 a command line prints
        return int(counts[left] > 0)

    return Command("day", does, _add_instant, run_as_of)


def _add_instant(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--at", type=_instant, default=None, metavar="INSTANT", help="RFC 3339, with offset; now unless told"
    )


def _instant(text: str) -> datetime:
    try:
        return parse_instant(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from None
