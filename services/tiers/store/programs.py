"""The versions of the tier program that customers are judged by."""

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Final, NamedTuple

from services.tiers.rules.program.compiled import Program
from services.tiers.rules.program.kind import KIND
from services.tiers.rules.program.versions import Versions
from shared.postgres.pool import Connection
from shared.programs import in_force, store
from shared.programs.kind import Key, compiled

_FIRST: Final = 1


class Effective(NamedTuple):
    """A published version, and the instant from which it is in force."""

    effective_at: datetime
    program: Program


async def load_program(connection: Connection, moment: datetime) -> Program:
    """The version in force at an instant."""
    return await in_force.version_at(connection, KIND, moment)


async def load_versions(
    connection: Connection, first: datetime, last: datetime, numbers: Collection[int] = ()
) -> Versions:
    """The versions that are in force at any instant from `first` to `last`, and some others by number."""
    return Versions(await in_force.book(connection, KIND, first, last, numbers))


async def load_last(connection: Connection, other_than: int | None) -> Effective:
    """The published version that takes effect last, other than one."""
    last = await in_force.last(connection, KIND, other_than)
    assert last is not None, "version 1 is published"
    return Effective(*last)


async def lock(connection: Connection) -> None:
    """Make publications wait for each other until their transactions end."""
    await store.lock(connection, Key(KIND.name), _FIRST)


async def load_all(connection: Connection) -> Versions:
    """All published versions: judging again can reach far back, and what a tier stands on names old ones."""
    return await load_versions(connection, datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


NEW_SQL = """
SELECT version, effective_at, CASE WHEN version <> ALL($2::int[]) THEN document::text END AS document
FROM document_version
WHERE kind = $1 AND id = '' AND effective_at IS NOT NULL
"""


class Programs:
    """The published versions of one database, each of which is read and compiled once: it never changes."""

    def __init__(self) -> None:
        self._compiled: dict[int, Program] = {}
        self._versions: dict[tuple[tuple[datetime, int], ...], Versions] = {}

    async def load(self, connection: Connection) -> Versions:
        """All published versions."""
        rows = await connection.fetch(NEW_SQL, KIND.name, list(self._compiled))
        for row in rows:
            if row["document"] is not None:
                self._compiled[row["version"]] = compiled(KIND, row["version"], row["document"])
        published = tuple(sorted((row["effective_at"], row["version"]) for row in rows))
        if published not in self._versions:
            self._versions = {published: Versions([(at, self._compiled[version]) for at, version in published])}
        return self._versions[published]
