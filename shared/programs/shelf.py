"""Reads every published version of a kind that has many documents; again only after a publication."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, NamedTuple

from shared.postgres.pool import Connection
from shared.programs.kind import C, Kind, compiled


class Entry(NamedTuple, Generic[C]):
    """A published version with the instant from which it is in force."""

    effective_at: datetime
    version: C


STAMP_SQL = """
SELECT count(*), max(published_at), max(xmin::text::bigint)
FROM document_version
WHERE kind = $1 AND effective_at IS NOT NULL
"""

ALL_SQL = """
SELECT id, version, effective_at, document::text AS document
FROM document_version
WHERE kind = $1 AND effective_at IS NOT NULL
ORDER BY id, effective_at, version
"""


class Shelf(Generic[C]):
    """The published versions of all documents of a kind in one database.

    Published versions never change and never go, so an equal stamp (how many there are, the last publication, the last
    transaction that wrote one) means the same versions. Each use reads the stamp, so it sees the versions of its own
    transaction.
    """

    def __init__(self, kind: Kind[Any, C]) -> None:
        self._kind = kind
        self._stamp: tuple[Any, ...] | None = None
        self._documents: Mapping[str, Sequence[Entry[C]]] = {}

    async def load(self, connection: Connection) -> Mapping[str, Sequence[Entry[C]]]:
        """The versions of each document by its id, in the order in which they take effect."""
        row: Any = await connection.fetchrow(STAMP_SQL, self._kind.name)
        stamp = tuple(row)
        if stamp != self._stamp:
            documents: dict[str, list[Entry[C]]] = {}
            for found in await connection.fetch(ALL_SQL, self._kind.name):
                version = compiled(self._kind, found["version"], found["document"])
                documents.setdefault(found["id"], []).append(Entry(found["effective_at"], version))
            # Read in this order: versions of a publication in between are read again with the next stamp.
            self._documents, self._stamp = documents, stamp
        return self._documents
