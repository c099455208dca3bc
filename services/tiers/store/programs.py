"""The versions of the tier program that customers are judged by."""

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Final, NamedTuple

from services.tiers.rules.program.compiled import Program
from services.tiers.rules.program.kind import KIND
from services.tiers.rules.program.versions import Versions
from shared.postgres.pool import Connection
from shared.programs import in_force, store
from shared.programs.in_force import Stamp
from shared.programs.kind import Book, Key

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


class Programs:
    """The published versions of one database, read again only after a publication."""

    def __init__(self) -> None:
        self._published = in_force.Published(KIND)
        self._versions: tuple[Book[Program], Versions] | None = None

    async def load(self, connection: Connection) -> Versions:
        """All published versions."""
        return self._of(await self._published.load(connection))

    def known(self, stamp: Stamp) -> Versions | None:
        """All published versions; None if others were published by the stamp than were read last."""
        book = self._published.known(stamp)
        return None if book is None else self._of(book)

    def _of(self, book: Book[Program]) -> Versions:
        if self._versions is None or self._versions[0] is not book:
            self._versions = book, Versions(book)
        return self._versions[1]
