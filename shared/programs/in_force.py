"""Reads published versions, compiled, within the transaction of a worker or a request."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final, Generic, NamedTuple

from shared.postgres.pool import Connection
from shared.programs.kind import Book, C, Kind, compiled

_MAX_IN_BETWEEN: Final = 10

IN_FORCE_BETWEEN_SQL = """
SELECT version, effective_at, document::text AS document
FROM document_version
WHERE kind = $1 AND id = '' AND (
    effective_at <= $3 AND (
        effective_at > $2
        OR version = (SELECT version FROM document_version WHERE kind = $1 AND id = '' AND effective_at <= $2
                      ORDER BY effective_at DESC, version DESC LIMIT 1)
    ) OR effective_at IS NOT NULL AND version = ANY($4::int[])
)
LIMIT $5
"""


async def _between(
    connection: Connection,
    kind: Kind[Any, C],
    span: tuple[datetime, datetime],
    versions: Collection[int],
    limit: int | None,
) -> Book[C]:
    """The versions in force at any instant of a span, and those with the given numbers; at most `limit`."""
    rows = await connection.fetch(IN_FORCE_BETWEEN_SQL, kind.name, *span, list(versions), limit)
    return _book(kind, rows)


IN_FORCE_AT_SQL = """
SELECT version, effective_at, document::text AS document
FROM document_version
WHERE kind = $1 AND id = '' AND (
    version = ANY($3::int[]) AND effective_at IS NOT NULL OR version IN (
        SELECT (SELECT version FROM document_version WHERE kind = $1 AND id = '' AND effective_at <= moment
                ORDER BY effective_at DESC, version DESC LIMIT 1)
        FROM unnest($2::timestamptz[]) AS moment
    )
)
"""


async def _at(
    connection: Connection, kind: Kind[Any, C], moments: Collection[datetime], versions: Collection[int]
) -> Book[C]:
    """The versions in force at the given instants, and those with the given numbers."""
    return _book(kind, await connection.fetch(IN_FORCE_AT_SQL, kind.name, list(moments), list(versions)))


async def book(
    connection: Connection, kind: Kind[Any, C], first: datetime, last: datetime, versions: Collection[int] = ()
) -> Book[C]:
    """The versions of a kind's only document that are in force at any instant from `first` to `last`.

    `versions` are the numbers of further versions to load.
    """
    return await _between(connection, kind, (first, last), versions, None)


async def book_at(
    connection: Connection, kind: Kind[Any, C], moments: Collection[datetime], versions: Collection[int] = ()
) -> Book[C]:
    """The versions of a kind's only document that are in force at the given instants, at least one."""
    limit = len(versions) + _MAX_IN_BETWEEN
    versions_between = await _between(connection, kind, (min(moments), max(moments)), versions, limit)
    # A backfill next to current events needs only a few of the versions that were in force in between.
    return versions_between if len(versions_between) < limit else await _at(connection, kind, set(moments), versions)


async def version_at(connection: Connection, kind: Kind[Any, C], moment: datetime) -> C:
    """The version of a kind's only document that is in force at an instant."""
    return (await book(connection, kind, moment, moment)).in_force(moment)


LAST_SQL = """
SELECT version, effective_at, document::text AS document
FROM document_version
WHERE kind = $1 AND id = '' AND effective_at IS NOT NULL AND version IS DISTINCT FROM $2
ORDER BY effective_at DESC, version DESC
LIMIT 1
"""


async def last(connection: Connection, kind: Kind[Any, C], other_than: int | None = None) -> tuple[datetime, C] | None:
    """Of the published versions of a kind's only document, the one that takes effect last, with its instant.

    The version with the number `other_than` does not count.
    """
    row = await connection.fetchrow(LAST_SQL, kind.name, other_than)
    return None if row is None else (row["effective_at"], compiled(kind, row["version"], row["document"]))


EACH_IN_FORCE_SQL = """
SELECT DISTINCT ON (id) id, version, document::text AS document
FROM document_version
WHERE kind = $1 AND effective_at <= $2
ORDER BY id, effective_at DESC, version DESC
"""


async def each_at(connection: Connection, kind: Kind[Any, C], moment: datetime) -> Mapping[str, C]:
    """The version in force at an instant, by document id; documents without one are absent."""
    rows = await connection.fetch(EACH_IN_FORCE_SQL, kind.name, moment)
    return {row["id"]: compiled(kind, row["version"], row["document"]) for row in rows}


PUBLISHED_SQL = """
SELECT id, version, document::text AS document
FROM document_version
JOIN unnest($2::text[], $3::int[]) AS wanted (id, version) USING (id, version)
WHERE kind = $1 AND effective_at IS NOT NULL
"""


async def published(
    connection: Connection, kind: Kind[Any, C], wanted: Collection[tuple[str, int]]
) -> Mapping[tuple[str, int], C]:
    """Published versions by id and number; missing versions and drafts are absent."""
    pairs = list(wanted)
    rows = await connection.fetch(PUBLISHED_SQL, kind.name, [id_ for id_, _ in pairs], [number for _, number in pairs])
    return {(row["id"], row["version"]): compiled(kind, row["version"], row["document"]) for row in rows}


def _book(kind: Kind[Any, C], rows: Collection[Any]) -> Book[C]:
    return Book([(row["effective_at"], compiled(kind, row["version"], row["document"])) for row in rows])


class Stamp(NamedTuple):
    """Tells whether anything was published: the number of published versions, the last publication's instant, and the
    last transaction that wrote one, which differs where a database was filled anew.
    """

    number: int
    last: datetime
    transaction: int


STAMP_SQL = """
SELECT count(*), max(published_at), max(xmin::text::bigint)
FROM document_version
WHERE kind = $1 AND id = '' AND effective_at IS NOT NULL
"""

ALL_SQL = """
SELECT version, effective_at, published_at, xmin::text::bigint AS transaction, document::text AS document
FROM document_version
WHERE kind = $1 AND id = '' AND effective_at IS NOT NULL
"""


class Published(Generic[C]):
    """The published versions of a kind's only document in one database: read again only after a publication.

    Published versions never change and never go, so an equal stamp means the same versions. Each use reads the stamp,
    so it sees the versions of its own transaction.
    """

    def __init__(self, kind: Kind[Any, C]) -> None:
        self._kind = kind
        self._read: tuple[Stamp, Book[C]] | None = None

    async def load(self, connection: Connection) -> Book[C]:
        """All published versions."""
        if self._read is not None:
            row = await connection.fetchrow(STAMP_SQL, self._kind.name)
            assert row is not None, "an aggregate has a row"
            if self._read[0] == Stamp(*row):
                return self._read[1]
        rows = await connection.fetch(ALL_SQL, self._kind.name)
        stamp = Stamp(len(rows), max(row["published_at"] for row in rows), max(row["transaction"] for row in rows))
        self._read = stamp, _book(self._kind, rows)
        return self._read[1]

    def known(self, stamp: Stamp) -> Book[C] | None:
        """All published versions; None if others were published by the stamp than were read last."""
        return self._read[1] if self._read is not None and self._read[0] == stamp else None
