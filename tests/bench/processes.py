"""The processes under test: started as in production, with their settings in the environment."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from deploy.local import program
from deploy.local.ports import answers, free_port
from deploy.local.program import Program
from tests.bench.testbed import Testbed

_START_SECONDS: Final = 30.0
_TAIL: Final = 20

Process = subprocess.Popen[bytes]


class ProcessError(Exception):
    """A process under test ended by itself, or did not come up."""


@asynccontextmanager
async def running(
    name: str, arguments: tuple[str, ...], env: Mapping[str, str], folder: Path
) -> AsyncIterator[Process]:
    """`python -m` with these arguments, until the end of the context; then SIGTERM."""
    started = Program(name=name, argv=(sys.executable, "-m", *arguments), env=env)
    log = folder / f"{name}.log"
    process = program.start(started, log)
    try:
        yield process
        if process.poll() is not None:
            raise ProcessError(f"{name} ended with {process.returncode}")  # noqa: TRY301 the note below is for it too
    except Exception as error:
        error.add_note(f"The last lines of {name}:\n{program.last_lines(log, _TAIL)}")
        raise
    finally:
        await asyncio.to_thread(program.stop, process, started)


@asynccontextmanager
async def worker(bed: Testbed, url: str, service: str = "points", number: int = 0) -> AsyncIterator[Process]:
    """One worker of a service; `number` tells several apart."""
    name = service.upper()
    env = {
        f"WAFA_DATABASE_URL_{name}": url,
        "WAFA_KAFKA_BOOTSTRAP": bed.bootstrap,
        "WAFA_KAFKA_IDEMPOTENCE": str(not bed.embedded).lower(),
        "WAFA_KAFKA_SESSION_TIMEOUT_MS": "6000",
        "WAFA_LOG_LEVEL": "WARNING",
        f"WAFA_{name}_PROBE_PORT": str(free_port()),
        "WAFA_NOTIFICATIONS_SMTP_PORT": str(free_port()),  # nobody answers there
    }
    async with running(f"{service}-{number}", (f"services.{service}", "worker"), env, bed.folder) as process:
        yield process


@asynccontextmanager
async def serving(
    name: str, arguments: tuple[str, ...], env: Mapping[str, str], folder: Path
) -> AsyncIterator[tuple[int, Process]]:
    """An HTTP server on a port of its own, which it is told as `WAFA_POINTS_PORT`; the port and the process."""
    port = free_port()
    async with running(name, arguments, {**env, "WAFA_POINTS_PORT": str(port)}, folder) as process:
        for _ in range(int(_START_SECONDS / 0.05)):
            if answers(port):
                break
            await asyncio.sleep(0.05)
        else:
            raise ProcessError(f"{name} does not answer")
        yield port, process
