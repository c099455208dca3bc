"""`dead-letters list|show|replay`: read refused records, and handle them again."""

import argparse
import sys
from collections import defaultdict
from typing import Any, overload

from pydantic_core import to_json

from shared.contracts.envelope import Headers
from shared.contracts.reasons import Reason
from shared.contracts.values import format_instant
from shared.messaging import dead_letters
from shared.messaging.dead_letters import DeadLetter, Filter
from shared.messaging.worker import WorkerSpec
from shared.postgres.pool import Pool, open_pool
from shared.process import replaying
from shared.process.settings import ServiceSettings

_PAGE = 500


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    actions = parser.add_subparsers(dest="action", required=True)
    listing = actions.add_parser("list", help="newest first")
    _add_filter(listing)
    listing.add_argument("--limit", type=int, default=None, metavar="N")
    listing.add_argument("--json", action="store_true", help="one JSON object per line")
    show = actions.add_parser("show", help="a dead letter with all its fields")
    show.add_argument("id", type=int)
    show.add_argument("--json", action="store_true", help="a JSON object on one line")
    replay = actions.add_parser(
        "replay", help="handle them again; a record that is refused again becomes a new dead letter"
    )
    replay.add_argument("ids", nargs="*", type=int, metavar="ID")
    _add_filter(replay)


def _add_filter(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reason", choices=[reason.value for reason in Reason])
    parser.add_argument("--customer", metavar="ID", help="only records that name this customer in their key or data")


def _wanted(arguments: argparse.Namespace) -> Filter:
    return Filter(arguments.reason, arguments.customer)


async def run(arguments: argparse.Namespace, settings: ServiceSettings, spec: WorkerSpec) -> int:
    """Run the command; returns the exit code."""
    application = f"wafa-{settings.service}-dead-letters"
    async with await open_pool(settings.database_url, application=application, max_size=2) as pool:
        match arguments.action:
            case "list":
                return await _list(pool, arguments)
            case "show":
                return await _show(pool, arguments)
            case _:
                return await _replay(pool, arguments, spec)


async def _list(pool: Pool, arguments: argparse.Namespace) -> int:
    left: int | None = arguments.limit
    before: int | None = None
    while left is None or left > 0:
        async with pool.acquire() as connection:
            size = _PAGE if left is None else min(_PAGE, left)
            letters = await dead_letters.page(connection, _wanted(arguments), before, size)
        for letter in letters:
            _print(to_json(summary(letter)).decode() if arguments.json else _line(letter))
        if len(letters) < size:
            break
        before = letters[-1].id
        left = None if left is None else left - len(letters)
    return 0


async def _show(pool: Pool, arguments: argparse.Namespace) -> int:
    async with pool.acquire() as connection:
        letter = await dead_letters.find(connection, arguments.id)
    if letter is None:
        _complain(f"there is no dead letter {arguments.id}")
        return 1
    _print(to_json(details(letter), indent=None if arguments.json else 2).decode())
    return 0


async def _replay(pool: Pool, arguments: argparse.Namespace, spec: WorkerSpec) -> int:
    wanted = _wanted(arguments)
    if bool(arguments.ids) == (wanted != Filter()):
        _complain("replay needs either ids, or --reason or --customer")
        return 2
    ids: list[int] = arguments.ids
    if not ids:
        async with pool.acquire() as connection:
            ids = await dead_letters.ids_of(connection, wanted)
    handled = refused = erased = 0
    # Each in a transaction of its own, so that a failure does not affect the others.
    for number in ids:
        async with pool.acquire() as connection, connection.transaction():
            done = await replaying.replay(pool, connection, spec, [number])
        handled, refused, erased = handled + done.handled, refused + done.refused, erased + len(done.erased)
        for letter in done.erased:
            _complain(replaying.why_not(letter))
    missing = len(ids) - handled - refused - erased
    others = [f", {count} {what}" for count, what in ((erased, "erased"), (missing, "not found")) if count > 0]
    _print(f"{handled} handled, {refused} refused again{''.join(others)}")
    return 1 if refused or others else 0


def details(letter: DeadLetter) -> dict[str, Any]:
    """A dead letter with all its fields, as JSON values; bytes that are not UTF-8 are escaped."""
    return summary(letter) | {
        "value": _readable(letter.record.value),
        "headers": _readable_headers(letter.record.headers),
        "timestamp": format_instant(letter.record.timestamp),
    }


def summary(letter: DeadLetter) -> dict[str, Any]:
    """A dead letter without value, headers and timestamp, as JSON values."""
    return {
        "id": letter.id,
        "topic": letter.record.topic,
        "partition": letter.record.partition,
        "offset": letter.record.offset,
        "key": _readable(letter.record.key),
        "type": letter.type,
        "reason": letter.reason,
        "error": letter.error,
        "recorded_at": format_instant(letter.recorded_at),
        "customers": letter.customer_ids,
    } | ({} if letter.erased_at is None else {"erased_at": format_instant(letter.erased_at)})


def _line(letter: DeadLetter) -> str:
    record = letter.record
    return (
        f"{letter.id}  {format_instant(letter.recorded_at)}  {record.topic}/{record.partition}@{record.offset}  "
        f"{letter.reason}  {letter.error if letter.erased_at is None else '(erased with its customer)'}"
    )


def _readable_headers(headers: Headers) -> dict[str, str | list[str | None] | None]:
    """Contents by name; a repeated name has a list of contents."""
    contents: defaultdict[str, list[str | None]] = defaultdict(list)
    for name, content in headers:
        contents[_readable(name)].append(_readable(content))
    return {name: several[0] if len(several) == 1 else several for name, several in contents.items()}


@overload
def _readable(content: bytes) -> str: ...
@overload
def _readable(content: bytes | None) -> str | None: ...
def _readable(content: bytes | None) -> str | None:
    return None if content is None else content.decode("utf-8", "backslashreplace")


def _complain(line: str) -> None:
    print(line, file=sys.stderr)  # noqa: T201 a command line prints


def _print(line: str) -> None:
    print(line)  # noqa: T201 a command line prints
