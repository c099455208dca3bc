"""Earning rules as they are stored: versions of one document, drafts and published ones."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from services.points.rules.program.ruleset import RuleBook, RuleSet, compiled
from shared.postgres.pool import Connection, Pool

_MOST_IN_BETWEEN: Final = 10

IN_FORCE_SQL = """
SELECT version, effective_at, document::text AS document
FROM earning_rules
WHERE effective_at <= $2 AND (
    effective_at > $1
    OR version = (SELECT version FROM earning_rules WHERE effective_at <= $1
                  ORDER BY effective_at DESC, version DESC LIMIT 1)
) OR effective_at IS NOT NULL AND version = ANY($3::int[])
LIMIT $4
"""


async def _in_between(
    connection: Connection, first: datetime, last: datetime, versions: Collection[int], most: int | None
) -> RuleBook:
    """The versions that are in force at any instant from `first` to `last`, and some others; at most so many."""
    rows = await connection.fetch(IN_FORCE_SQL, first, last, list(versions), most)
    return RuleBook([(row["effective_at"], compiled(row["version"], row["document"])) for row in rows])


IN_FORCE_AT_SQL = """
SELECT version, effective_at, document::text AS document
FROM earning_rules
WHERE version = ANY($2::int[]) AND effective_at IS NOT NULL OR version IN (
    SELECT (SELECT version FROM earning_rules WHERE effective_at <= moment
            ORDER BY effective_at DESC, version DESC LIMIT 1)
    FROM unnest($1::timestamptz[]) AS moment
)
"""


async def _at(connection: Connection, moments: Collection[datetime], versions: Collection[int]) -> RuleBook:
    """The versions that are in force at some instants, and some others by their numbers."""
    rows = await connection.fetch(IN_FORCE_AT_SQL, list(moments), list(versions))
    return RuleBook([(row["effective_at"], compiled(row["version"], row["document"])) for row in rows])


async def book(connection: Connection, first: datetime, last: datetime, versions: Collection[int] = ()) -> RuleBook:
    """The versions that are in force at any instant from `first` to `last`, and some others by their numbers."""
    return await _in_between(connection, first, last, versions, None)


async def book_at(connection: Connection, moments: Collection[datetime], versions: Collection[int] = ()) -> RuleBook:
    """The versions that are in force at some instants, and some others by their numbers."""
    most = len(versions) + _MOST_IN_BETWEEN
    found = await _in_between(connection, min(moments), max(moments), versions, most)
    # A backfill beside what happens now: of all that was in force in between, a few versions are needed.
    return found if len(found) < most else await _at(connection, set(moments), versions)


async def in_force(connection: Connection, moment: datetime) -> RuleSet:
    """The version in force at an instant."""
    return (await book(connection, moment, moment)).in_force(moment)


@dataclass(frozen=True, slots=True)
class Version:
    """A version of the document; a draft has neither been published nor will it take effect."""

    version: int
    document: dict[str, Any]
    revision: int
    created_at: datetime
    published_at: datetime | None
    effective_at: datetime | None
    created_by: str | None
    changed_by: str | None
    published_by: str | None


FIND_SQL = """
SELECT version, document, revision, created_at, published_at, effective_at,
       created_by, changed_by, published_by FROM earning_rules WHERE version = $1
"""


async def find(pool: Pool, version: int) -> Version | None:
    """A version by its number."""
    row = await pool.fetchrow(FIND_SQL, version)
    return None if row is None else Version(*row)


LOCK_SQL = """
SELECT version, document, revision, created_at, published_at, effective_at,
       created_by, changed_by, published_by
FROM earning_rules WHERE version = $1 FOR UPDATE
"""


async def lock(connection: Connection, version: int) -> Version | None:
    """A version by its number, locked until the transaction ends."""
    row = await connection.fetchrow(LOCK_SQL, version)
    return None if row is None else Version(*row)


PAGE_SQL = """
SELECT version, document, revision, created_at, published_at, effective_at,
       created_by, changed_by, published_by
FROM earning_rules WHERE version < $1 ORDER BY version DESC LIMIT $2
"""


async def page(pool: Pool, before: int, limit: int) -> Sequence[Version]:
    """Versions, newest first."""
    return [Version(*row) for row in await pool.fetch(PAGE_SQL, before, limit)]


LOCK_ALL_SQL = """
LOCK TABLE earning_rules IN SHARE ROW EXCLUSIVE MODE
"""

INSERT_SQL = """
INSERT INTO earning_rules (version, document, created_at, created_by)
SELECT max(version) + 1, $1, $2, $3 FROM earning_rules
RETURNING version, document, revision, created_at, published_at, effective_at,
       created_by, changed_by, published_by
"""


async def insert(connection: Connection, document: dict[str, Any], now: datetime, principal: str) -> Version:
    """Keep a new draft as the next version; two editors at once get two versions."""
    await connection.execute(LOCK_ALL_SQL)
    row: Any = await connection.fetchrow(INSERT_SQL, document, now, principal)
    return Version(*row)


UPDATE_SQL = """
UPDATE earning_rules SET document = $2, revision = revision + 1, changed_by = $3
WHERE version = $1 AND effective_at IS NULL
RETURNING version, document, revision, created_at, published_at, effective_at,
       created_by, changed_by, published_by
"""


async def update(connection: Connection, version: int, document: dict[str, Any], principal: str) -> Version:
    """Write a draft anew."""
    row: Any = await connection.fetchrow(UPDATE_SQL, version, document, principal)
    return Version(*row)


PUBLISH_SQL = """
UPDATE earning_rules SET published_at = $2, effective_at = $3, published_by = $4
WHERE version = $1 AND effective_at IS NULL
RETURNING version, document, revision, created_at, published_at, effective_at,
       created_by, changed_by, published_by
"""


async def publish(
    connection: Connection, version: int, now: datetime, effective_at: datetime, principal: str
) -> Version:
    """Publish a draft; from then on it never changes."""
    row: Any = await connection.fetchrow(PUBLISH_SQL, version, now, effective_at, principal)
    return Version(*row)
