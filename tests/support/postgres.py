"""A PostgreSQL server for the tests, and fresh migrated databases.

Each process of pytest-xdist has its own server. Databases are copies of a migrated
template, which is created once per service.
"""

import itertools
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from deploy.local.postgres import Postgres
from shared.postgres.migrate import migrate
from shared.postgres.pool import Pool, open_pool

# These tests do not need durability (the fault tests run their own server).
SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "shared_buffers": "128MB"}

# A process has some ten databases of 9 MB at a time, and a log of transactions of up to 2 GB.
_SHARED_MEMORY = Path("/dev/shm")
_ENOUGH_MEMORY = 6 * 2**30

_count = itertools.count()
_templates: set[tuple[str, str]] = set()


def fastest_folder() -> Path | None:
    """Where a server's files are copied fastest: in memory if there is plenty, else None, the usual place."""
    try:
        free = shutil.disk_usage(_SHARED_MEMORY).free
    except OSError:
        return None
    return _SHARED_MEMORY if free >= _ENOUGH_MEMORY and os.access(_SHARED_MEMORY, os.W_OK) else None


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """The URL of a new server, which ends with the context."""
    postgres = Postgres(folder / "postgres", settings=SETTINGS)
    postgres.start()
    try:
        yield postgres.url()
    finally:
        postgres.stop(immediate=True)


def sibling(url: str, database: str) -> str:
    """The URL of another database of the same server."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def _make_template(url: str, service: str) -> None:
    """Make the migrated template of a service, once per server."""
    if (url, service) in _templates:
        return
    template = f"template_{service}"
    try:
        await _execute(url, f"CREATE DATABASE {template}")
    except asyncpg.DuplicateDatabaseError:
        pass  # another process made it
    else:
        packages = () if service == "platform" else (f"services.{service}",)
        await migrate(sibling(url, template), *packages)
    _templates.add((url, service))


async def make_database(url: str, service: str) -> str:
    """The URL of a new database with the tables of a service (`points`), or of the platform alone (`platform`)."""
    await _make_template(url, service)
    name = f"{service}_{os.getpid()}_{next(_count)}"
    await _execute(url, f"CREATE DATABASE {name} TEMPLATE template_{service} STRATEGY file_copy")
    return sibling(url, name)


async def empty_database(url: str) -> str:
    """The URL of a new database without any table."""
    name = f"empty_{os.getpid()}_{next(_count)}"
    await _execute(url, f"CREATE DATABASE {name}")
    return sibling(url, name)


@asynccontextmanager
async def database(url: str, service: str, max_size: int = 8) -> AsyncIterator[Pool]:
    """A pool on a new database, dropped at the end of the context."""
    fresh = await make_database(url, service)
    try:
        async with await open_pool(fresh, application="wafa-test", max_size=max_size) as pool:
            yield pool
    finally:
        await _execute(url, f"DROP DATABASE {fresh.rpartition('/')[2]} WITH (FORCE)")
