"""Migrations: plain SQL files, forward only, each applied once and never changed afterwards."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

import asyncpg

from shared.postgres.pool import Connection, prepare, server_settings
from shared.programs import store

_LOCK: Final = 0x57616661  # "Wafa"


class MigrationChangedError(Exception):
    """The text of an applied migration has changed."""


@dataclass(frozen=True, slots=True)
class Migration:
    """A file of SQL; migrations of a package apply in the order of their names."""

    package: str
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, in hex."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations_of(*packages: str) -> Iterator[Migration]:
    """The migrations in the `migrations` folders of the packages, in the order in which they apply."""
    for package in packages:
        folder = resources.files(package) / "migrations"
        for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
            if file.name.endswith(".sql"):
                yield Migration(package, file.name, file.read_text(encoding="utf-8"))


def documents_of(package: str) -> dict[str, dict[str, Any]]:
    """The documents that ship with a package: by kind, then by id."""
    folder = resources.files(package) / "documents"
    if not folder.is_dir():
        return {}
    return {
        kind.name: {
            file.name.removesuffix(".json"): json.loads(file.read_text(encoding="utf-8"))
            for file in sorted(kind.iterdir(), key=lambda entry: entry.name)
        }
        for kind in folder.iterdir()
    }


async def migrate(url: str, *packages: str) -> list[str]:
    """Bring a database up to date with the platform's tables and those of the packages (`services.points`).

    Returns the names of the migrations that it applied. Several processes may run it at once: one applies the
    migrations, the others wait.

    Raises:
        MigrationChangedError: an applied migration was edited.
        OSError, asyncpg.PostgresError: the database does not answer, or refuses.
    """
    connection = await asyncpg.connect(
        url, server_settings={**server_settings("wafa-migrate"), "statement_timeout": "0"}
    )
    try:
        await prepare(connection)
        return await _migrate(connection, packages)
    finally:
        await connection.close()


LOCK_SQL = "SELECT pg_advisory_lock($1)"

CREATE_HISTORY_SQL = """
CREATE TABLE IF NOT EXISTS schema_migration (
    package    text NOT NULL,
    name       text NOT NULL,
    checksum   text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (package, name)
)
"""

APPLIED_SQL = "SELECT package, name, checksum FROM schema_migration"

RECORD_SQL = "INSERT INTO schema_migration (package, name, checksum) VALUES ($1, $2, $3)"


async def _migrate(connection: Connection, packages: Sequence[str]) -> list[str]:
    await connection.execute(LOCK_SQL, _LOCK)
    await connection.execute(CREATE_HISTORY_SQL)
    applied = {(row["package"], row["name"]): row["checksum"] for row in await connection.fetch(APPLIED_SQL)}
    done: list[str] = []
    for migration in migrations_of("shared.postgres", *packages):
        checksum = applied.get((migration.package, migration.name))
        if checksum is None:
            async with connection.transaction():
                await connection.execute(migration.sql)
                await connection.execute(RECORD_SQL, migration.package, migration.name, migration.checksum)
            done.append(f"{migration.package}/{migration.name}")
        elif checksum != migration.checksum:
            raise MigrationChangedError(
                f"{migration.package}/{migration.name} was changed after it was applied; write a new migration instead"
            )
    for package in packages:
        await _seed(connection, package)
    return done


async def _seed(connection: Connection, package: str) -> None:
    """Store the documents that ship with a package as version 1: `documents/<kind>/<id>.json`."""
    for kind, documents in documents_of(package).items():
        await store.seed(connection, kind, documents)
