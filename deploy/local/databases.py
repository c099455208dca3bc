"""Creates and migrates the databases of the services on a PostgreSQL server."""

import asyncio

import asyncpg

from deploy.local.pieces import Pieces
from deploy.local.program import StartError
from services import SERVICES
from shared.postgres.migrate import MigrationChangedError, migrate


async def prepare(pieces: Pieces) -> None:
    """Create the missing databases, and migrate all of them.

    Raises:
        StartError: the server does not answer or refuses, or a migration that was applied has changed.
    """
    try:
        await _create([f"wafa_{service}" for service in SERVICES], pieces.server_url)
        await asyncio.gather(*(migrate(pieces.database_url(service), f"services.{service}") for service in SERVICES))
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, MigrationChangedError) as error:
        raise StartError(f"PostgreSQL: {error}") from error


DATABASES_SQL = "SELECT datname FROM pg_database WHERE datname = ANY ($1::text[])"


async def _create(names: list[str], server_url: str) -> None:
    connection = await asyncpg.connect(server_url, timeout=10)
    try:
        existing = {row["datname"] for row in await connection.fetch(DATABASES_SQL, names)}
        for name in names:
            if name not in existing:
                await connection.execute(
                    f'CREATE DATABASE "{name}"'
                )  # a constant name; CREATE DATABASE takes no parameters
    finally:
        await connection.close()
