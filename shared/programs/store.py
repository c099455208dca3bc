"""Stored documents: one row per version, drafts and published ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from shared.postgres.pool import Connection, Pool
from shared.programs.kind import Key

SINCE_EVER: Final = datetime(1, 1, 1, tzinfo=UTC)
"""From when on the versions that ship with the product are in force."""


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a document; only of a published one `published_at` and `effective_at` are set.

    `revision` counts how often the draft was written. `created_by` and `published_by` are null for a version that ships
    with the product; `changed_by` is who replaced the draft last, if anybody did. `note` is what the publisher wrote.
    """

    id: str
    version: int
    document: dict[str, Any]
    revision: int
    created_at: datetime
    published_at: datetime | None
    effective_at: datetime | None
    created_by: str | None
    changed_by: str | None
    published_by: str | None
    note: str | None


FIND_SQL = """
SELECT id, version, document, revision, created_at, published_at, effective_at, created_by, changed_by, published_by,
       note
FROM document_version WHERE kind = $1 AND id = $2 AND version = $3
"""


async def find(pool: Pool, key: Key, version: int) -> Version | None:
    """A version by its number."""
    row = await pool.fetchrow(FIND_SQL, *key, version)
    return None if row is None else Version(*row)


LOCK_SQL = """
SELECT id, version, document, revision, created_at, published_at, effective_at, created_by, changed_by, published_by,
       note
FROM document_version WHERE kind = $1 AND id = $2 AND version = $3 FOR UPDATE
"""


async def lock(connection: Connection, key: Key, version: int) -> Version | None:
    """A version by its number, locked until the transaction ends."""
    row = await connection.fetchrow(LOCK_SQL, *key, version)
    return None if row is None else Version(*row)


PAGE_SQL = """
SELECT id, version, document, revision, created_at, published_at, effective_at, created_by, changed_by, published_by,
       note
FROM document_version WHERE kind = $1 AND id = $2 AND version < $3 ORDER BY version DESC LIMIT $4
"""


async def page(pool: Pool, key: Key, before: int, limit: int) -> Sequence[Version]:
    """The versions of a document below a number, newest first."""
    return [Version(*row) for row in await pool.fetch(PAGE_SQL, *key, before, limit)]


class Summary(NamedTuple):
    """A document of a kind that has many: its newest version, and the one in force, if any."""

    id: str
    created_at: datetime
    newest: int
    in_force: int | None


SUMMARIES_SQL = """
SELECT first.id, first.created_at,
       (SELECT max(version) FROM document_version WHERE kind = $1 AND id = first.id) AS newest,
       (SELECT version FROM document_version WHERE kind = $1 AND id = first.id AND effective_at <= $2
        ORDER BY effective_at DESC, version DESC LIMIT 1) AS in_force
FROM document_version AS first
WHERE kind = $1 AND version = 1 AND ($3::timestamptz IS NULL OR (first.created_at, first.id) < ($3, $4))
ORDER BY first.created_at DESC, first.id DESC
LIMIT $5
"""


async def summaries(
    pool: Pool, kind: str, moment: datetime, before: tuple[datetime, str] | None, limit: int
) -> Sequence[Summary]:
    """The documents of a kind as of an instant, newest first, below a (creation, id)."""
    return [Summary(*row) for row in await pool.fetch(SUMMARIES_SQL, kind, moment, *(before or (None, None)), limit)]


LOCK_ALL_SQL = """
LOCK TABLE document_version IN SHARE ROW EXCLUSIVE MODE
"""

INSERT_SQL = """
INSERT INTO document_version (kind, id, version, document, created_at, created_by)
SELECT $1, $2, coalesce(max(version), 0) + 1, $3, $4, $5 FROM document_version WHERE kind = $1 AND id = $2
RETURNING id, version, document, revision, created_at, published_at, effective_at, created_by, changed_by, published_by,
          note
"""


async def insert(connection: Connection, key: Key, document: dict[str, Any], now: datetime, principal: str) -> Version:
    """Store a new draft as the next version; two editors at the same time get two versions."""
    await connection.execute(LOCK_ALL_SQL)
    row: Any = await connection.fetchrow(INSERT_SQL, *key, document, now, principal)
    return Version(*row)


INSERT_FIRST_SQL = """
INSERT INTO document_version (kind, id, version, document, created_at, created_by)
VALUES ($1, $2, 1, $3, $4, $5)
ON CONFLICT DO NOTHING
RETURNING id, version, document, revision, created_at, published_at, effective_at, created_by, changed_by, published_by,
          note
"""


async def insert_first(
    connection: Connection, key: Key, document: dict[str, Any], now: datetime, principal: str
) -> Version | None:
    """Store a draft as version 1 of a new document; None if the document exists."""
    row = await connection.fetchrow(INSERT_FIRST_SQL, *key, document, now, principal)
    return None if row is None else Version(*row)


UPDATE_SQL = """
UPDATE document_version SET document = $4, revision = revision + 1, changed_by = $5
WHERE kind = $1 AND id = $2 AND version = $3 AND effective_at IS NULL
RETURNING id, version, document, revision, created_at, published_at, effective_at, created_by, changed_by, published_by,
          note
"""


async def update(connection: Connection, key: Key, version: int, document: dict[str, Any], principal: str) -> Version:
    """Replace the document of a draft."""
    row: Any = await connection.fetchrow(UPDATE_SQL, *key, version, document, principal)
    return Version(*row)


class Publication(NamedTuple):
    """The instant of publication, the instant from which the version is in force, the publisher, and their note."""

    published_at: datetime
    effective_at: datetime
    principal: str
    note: str | None = None


PUBLISH_SQL = """
UPDATE document_version SET published_at = $4, effective_at = $5, published_by = $6, note = $7
WHERE kind = $1 AND id = $2 AND version = $3 AND effective_at IS NULL
RETURNING id, version, document, revision, created_at, published_at, effective_at, created_by, changed_by, published_by,
          note
"""


async def publish(connection: Connection, key: Key, version: int, publication: Publication) -> Version:
    """Publish a draft; from then on it never changes."""
    row: Any = await connection.fetchrow(PUBLISH_SQL, *key, version, *publication)
    return Version(*row)


COUNT_PUBLISHED_SQL = """
SELECT count(DISTINCT id) FROM document_version WHERE kind = $1 AND id <> $2 AND effective_at IS NOT NULL
"""


async def count_published(connection: Connection, but: Key) -> int:
    """Number of the other documents of a kind that have a published version."""
    count: Any = await connection.fetchval(COUNT_PUBLISHED_SQL, *but)
    return count


SEED_SQL = """
INSERT INTO document_version (kind, id, version, document, created_at, published_at, effective_at)
SELECT $1, id, 1, document, $4, $4, $4 FROM unnest($2::text[], $3::json[]) AS seed (id, document)
ON CONFLICT DO NOTHING
"""


async def seed(connection: Connection, kind: str, documents: Mapping[str, dict[str, Any]]) -> None:
    """Store documents by id as version 1, in force since the beginning of time; existing ones stay unchanged."""
    await connection.execute(SEED_SQL, kind, list(documents), list(documents.values()), SINCE_EVER)
