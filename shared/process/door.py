"""The command line of a service: `python -m services.<name> COMMAND`."""

import argparse
import logging
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, NoReturn, TypeVar

import asyncpg
import uvloop
from aiokafka.errors import KafkaError
from fastapi import FastAPI
from pydantic import ValidationError

from shared import telemetry
from shared.http.server import serve
from shared.messaging.worker import EXIT_RESTART, Worker, WorkerSpec, stop_on_signals
from shared.postgres.migrate import MigrationChangedError, migrate
from shared.postgres.pool import Pool, open_pool
from shared.postgres.shares import open_shared_pool
from shared.process import dead_letters, garbage, operations, positions
from shared.process.pulse import beating
from shared.process.settings import ServiceSettings

S = TypeVar("S", bound=ServiceSettings)

EXIT_USAGE: Final = 2

# These libraries log every start, stop and rebalance, and errors that the worker logs itself.
_LIBRARY_LEVELS: Final = {
    **dict.fromkeys(("aiokafka", "faust", "mode", "uvicorn"), logging.WARNING),
    "asyncpg.pool": logging.ERROR,
}


class CommandError(Exception):
    """A command cannot run; the message is one line for the terminal."""


@dataclass(frozen=True, slots=True)
class Command(Generic[S]):
    """A command that only one service has; `run` returns the exit code."""

    name: str
    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, S], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Door(Generic[S]):
    """The parts of a service that the commands run."""

    settings: type[S]
    spec: Callable[[S], WorkerSpec]
    api: Callable[[S, Pool], FastAPI]
    commands: tuple[Command[S], ...] = ()

    @property
    def service(self) -> str:
        """The service's name."""
        return self.settings.service

    def app(self, settings: S, pool: Pool) -> FastAPI:
        """The service's API, with the routes of operations."""
        app = self.api(settings, pool)
        own = list(app.router.routes)
        app.include_router(operations.routes(self.spec(settings), pool))
        # First, since a route such as `/v1/referrals/{id}` matches `/v1/referrals/operations` too.
        app.router.routes[:] = [*app.router.routes[len(own) :], *own]
        return app

    def open(self, argv: Sequence[str] | None = None) -> int:
        """Run a command; returns the exit code. Wrong input prints one line on stderr."""
        arguments = self._parser().parse_args(argv)
        try:
            settings = self.settings()
            _log(self.service, settings.log_level)
            return uvloop.run(_run(self, arguments, settings))
        except ValidationError as error:
            return _complain(f"settings: {self._wrong(error)}")
        except (CommandError, MigrationChangedError, ValueError) as error:
            return _complain(str(error))
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, KafkaError) as error:
            _complain(f"{type(error).__name__}: {error}")
            return EXIT_RESTART

    def _wrong(self, error: ValidationError) -> str:
        """The first invalid setting, by its environment variable, and why it is invalid."""
        first = error.errors(include_url=False, include_input=False)[0]
        if not first["loc"]:  # settings that contradict each other: the message names them
            return first["msg"]
        name = str(first["loc"][0])
        variable = name if name.startswith("WAFA_") else f"{self.settings.model_config.get('env_prefix')}{name.upper()}"
        return f"{variable}: {first['msg']}"

    def _parser(self) -> argparse.ArgumentParser:
        parser = _Parser(prog=f"python -m services.{self.service}")
        commands = parser.add_subparsers(dest="command", required=True)
        commands.add_parser("api", help="serve the HTTP API")
        commands.add_parser("worker", help="handle events, publish events, and run the scheduled jobs")
        commands.add_parser("migrate", help="migrate the database to this version")
        dead_letters.add_arguments(commands.add_parser("dead-letters", help="read and replay refused records"))
        positions.add_arguments(commands.add_parser("positions", help="list and set the position of each partition"))
        for command in self.commands:
            command.add_arguments(commands.add_parser(command.name, help=command.help))
        return parser


class _Parser(argparse.ArgumentParser):
    """Argparse with one-line errors."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"{self.prog}: {message} (see --help)\n")


def _log(service: str, level: str) -> None:
    telemetry.configure(service, level)
    for name, least in _LIBRARY_LEVELS.items():
        logging.getLogger(name).setLevel(max(least, logging.getLogger().level))


async def _run(door: Door[S], arguments: argparse.Namespace, settings: S) -> int:
    if not settings.database_url:
        raise CommandError(f"settings: WAFA_DATABASE_URL_{door.service.upper()} is not set")
    for command in door.commands:
        if command.name == arguments.command:
            return await command.run(arguments, settings)
    match arguments.command:
        case "migrate":
            for name in await migrate(settings.database_url, f"services.{door.service}"):
                print(f"applied {name}")  # noqa: T201 a command line prints
            return 0
        case "api":
            return await _serve_api(door, settings)
        case "worker":
            return await _work(door, settings)
        case "dead-letters":
            return await dead_letters.run(arguments, settings, door.spec(settings))
        case _:
            return await positions.run(arguments, settings, door.spec(settings))


async def _serve_api(door: Door[S], settings: S) -> int:
    application = f"wafa-{settings.service}-api"
    async with await open_shared_pool(
        settings.database_url, application=application, max_size=settings.pool_size
    ) as pool:
        app = door.app(settings, pool)
        garbage.spare()
        await serve(app, settings.host, settings.port, settings.limits())
    return 0


async def _work(door: Door[S], settings: S) -> int:
    application = f"wafa-{settings.service}-worker"
    async with await open_pool(settings.database_url, application=application, max_size=settings.pool_size) as pool:
        worker = Worker(
            door.spec(settings), pool, settings.broker(), settings.batch_size, settings.lanes, settings.retention()
        )
        stop_on_signals(worker)
        failures: list[BaseException] = []

        def end(error: BaseException) -> None:
            failures.append(error)
            worker.stop()

        with beating(worker.is_ready, (settings.host, settings.probe_port), end):
            code = await worker.run()
        if failures:
            raise failures[0]
        return code


def _complain(line: str) -> int:
    print(line, file=sys.stderr)  # noqa: T201 a command line prints
    return EXIT_USAGE
