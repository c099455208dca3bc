"""The one-machine stack: `python -m deploy.local up|down|status|drain|publish|replay|token`."""

import argparse
import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from pydantic import TypeAdapter, ValidationError
from rich.console import Console

from deploy.keys import KeysError
from deploy.local import credentials, environment, publish, show, stack, state, up
from deploy.local.down import down
from deploy.local.drain import DrainTimeoutError, drain
from deploy.local.layout import DEFAULT_DATA, Layout
from deploy.local.pieces import Kafka
from deploy.local.program import StartError
from deploy.local.stack import Wish
from deploy.local.status import status
from shared.contracts.values import Id


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code. An error is one line on stderr."""
    parser = _parser()
    given, rest = parser.parse_known_args(arguments)
    if rest and given.command != "replay":
        parser.error(f"unknown: {' '.join(rest)}")
    given.rest = rest
    layout = Layout(given.data.absolute())
    try:
        return COMMANDS[given.command](layout, given)
    except (StartError, KeysError) as error:
        print(f"deploy.local: {error}", file=sys.stderr)
        return 1


def _up(layout: Layout, given: argparse.Namespace) -> int:
    if state.running_pid(layout) is not None:
        url = environment.read(layout).get("WAFA_URL", "") if layout.env_file.exists() else ""
        print(f"already running at {url} (data in {layout.root}); `python -m deploy.local down` stops it")
        return 0 if given.detach else 1
    wish = Wish(given.kafka, given.port, given.reload)
    process = up.supervisor(layout, wish, detached=given.detach)
    return _in_background(layout, given, process) if given.detach else _in_foreground(layout, given, process)


def _in_background(layout: Layout, given: argparse.Namespace, process: subprocess.Popen[bytes]) -> int:
    try:
        up.wait_until_ready(layout, process)
    except BaseException:
        up.stop(process)
        raise
    show.print_ready(layout)
    if not given.empty:
        return _publish(layout, show.extent(given.sample))
    return 0


def _in_foreground(layout: Layout, given: argparse.Namespace, process: subprocess.Popen[bytes]) -> int:
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        print("Starting PostgreSQL, Kafka and the services.", flush=True)
        up.wait_until_ready(layout, process)
        show.print_ready(layout)
        if not given.empty:
            _join(layout)
            show.replay_sample(layout, given.sample, Console())
        show.print_what_to_try(layout)
        if given.reload:
            show.follow(layout, process)
        return abs(process.wait())  # 0 when `down` stopped it
    except KeyboardInterrupt:
        print("\nStopping when all published events are handled (Ctrl-C again: at once).", flush=True)
        return 0
    except StartError as error:
        print(f"deploy.local: {error}\nStopping.", file=sys.stderr, flush=True)
        return 1
    finally:
        up.stop(process)
        show.print_end(layout)


def _interrupt(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _publish(layout: Layout, options: Sequence[str]) -> int:
    from deploy.sample import replay  # noqa: PLC0415 - pyarrow is slow to import, and wanted here only

    replay.options(options)  # wrong options and --help need no running stack
    return replay.main(options, _join(layout))


def _join(layout: Layout) -> dict[str, str]:
    """Load the stack's env file into this process's environment, and return the environment."""
    os.environ.update(environment.read(layout))
    return dict(os.environ)


def _drain(layout: Layout, given: argparse.Namespace) -> int:
    try:
        rounds = asyncio.run(drain(_join(layout), given.timeout))
    except DrainTimeoutError as error:
        print(f"deploy.local: not all events are handled after {given.timeout:g} s: {error}", file=sys.stderr)
        return 1
    print(f"everything is handled, and every outbox is empty ({rounds} rounds)")
    return 0


def _status(layout: Layout, given: argparse.Namespace) -> int:
    if layout.env_file.exists():
        _join(layout)
    return status(layout, as_json=given.json)


def _token(layout: Layout, given: argparse.Namespace) -> int:
    environment.read(layout)  # raises an error if the stack was never started
    if given.scopes is not None:
        print(credentials.api_key(layout, given.scopes.split(",")))
        return 0
    try:
        customer = TypeAdapter[str](Id).validate_python(given.customer)
    except ValidationError as error:
        raise StartError(f"not a customer id: {given.customer!r}") from error
    print(credentials.customer_token(layout, customer))
    return 0


COMMANDS: dict[str, Callable[[Layout, argparse.Namespace], int]] = {
    "up": _up,
    "down": lambda layout, given: down(layout, purge=given.purge),
    "status": _status,
    "drain": _drain,
    "publish": lambda layout, given: publish.publish(_join(layout), given.topic, sys.stdin.buffer),
    "replay": lambda layout, given: _publish(layout, given.rest),
    "token": _token,
    "supervise": lambda layout, given: stack.run(layout, Wish(given.kafka, given.port, given.reload)),
}


def _parser() -> argparse.ArgumentParser:
    data = argparse.ArgumentParser(add_help=False)
    data.add_argument("--data", type=Path, default=DEFAULT_DATA, metavar="DIR", help="default: .local")
    pieces = argparse.ArgumentParser(add_help=False)
    pieces.add_argument("--kafka", type=Kafka, choices=list(Kafka), help="default: WAFA_KAFKA_BOOTSTRAP, or embedded")
    pieces.add_argument("--port", type=int, metavar="N", help="of the APIs (default: 8000, or a free one)")
    pieces.add_argument("--reload", action="store_true", help="restart a process when its source files change")
    parser = argparse.ArgumentParser(prog="python -m deploy.local", description="Wafa on one machine.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    start = commands.add_parser("up", parents=[data, pieces], help="start it, replay the sample, stay until Ctrl-C")
    start.add_argument("--detach", action="store_true", help="start it in the background, return when it is ready")
    start.add_argument("--empty", action="store_true", help="without the sample")
    start.add_argument("--sample", type=_extent, default="148", metavar="N|all", help="number of households to replay")
    end = commands.add_parser("down", parents=[data], help="stop it when all published events are handled")
    end.add_argument("--purge", action="store_true", help="delete its data too")
    shown = commands.add_parser(
        "status", parents=[data], help="show the processes and how many records each service has to handle"
    )
    shown.add_argument("--json", action="store_true")
    wait = commands.add_parser("drain", parents=[data], help="wait until everything is handled and published")
    wait.add_argument("--timeout", type=float, default=300.0, metavar="S", help="seconds (default: 300)")
    lines = commands.add_parser("publish", parents=[data], help="publish the events of stdin, one JSON per line")
    lines.add_argument("topic", choices=publish.TOPICS, metavar="TOPIC", help=", ".join(publish.TOPICS))
    commands.add_parser("replay", parents=[data], add_help=False, help="publish the sample (replay --help)")
    who = commands.add_parser("token", parents=[data], help="print a customer's token, or a new API key")
    kind = who.add_mutually_exclusive_group(required=True)
    kind.add_argument("--customer", metavar="ID", help="a JWT for this customer")
    kind.add_argument("--scopes", metavar="A,B", help="an API key with these scopes")
    commands.add_parser("supervise", parents=[data, pieces])  # what `up` starts
    return parser


def _extent(text: str) -> str:
    if text != "all" and not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError("a number of households, or all")
    return text


if __name__ == "__main__":
    raise SystemExit(main())
