"""The processes of the benchmark, started with the tests' `Fleet`."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from deploy.local.ports import free_port
from tests.bench.testbed import Testbed
from tests.support.fleet import Fleet, Member, environment, listening, running


@asynccontextmanager
async def worker(bed: Testbed, url: str, service: str = "points", number: int = 0) -> AsyncIterator[Member]:
    """A worker of a service; `number` distinguishes several."""
    env = environment(bed.bootstrap, {service: url}, idempotent=not bed.embedded) | {"WAFA_LOG_LEVEL": "WARNING"}
    async with running(Fleet(env, bed.folder).worker(service, f"{service}-{number}")) as member:
        yield member


@asynccontextmanager
async def serving(
    name: str, arguments: tuple[str, ...], env: Mapping[str, str], folder: Path
) -> AsyncIterator[tuple[int, Member]]:
    """An HTTP server on a free port, which it gets as `WAFA_POINTS_PORT` or its own; the port and the process."""
    port = free_port()
    ports = {f"WAFA_{name.upper()}_PORT": str(port), "WAFA_POINTS_PORT": str(port)}
    member = Member(name, name, arguments, {**env, **ports}, folder, port)
    async with running(member):
        await listening(member)
        yield port, member
