"""Puts documents into force in ways that no request can: unchecked, and in the past."""

from datetime import datetime
from typing import Any

from shared.postgres.pool import Pool
from shared.programs import store
from shared.programs.kind import ONLY, Key
from shared.programs.store import Publication


async def put_into_force(pool: Pool, kind: str, document: dict[str, Any], since: datetime, id_: str = ONLY) -> int:
    """Store a document as the next version, in force from an instant on; returns the version's number."""
    key = Key(kind, id_)
    async with pool.acquire() as connection, connection.transaction():
        draft = await store.insert(connection, key, document, since, "key:test")
        published = await store.publish(connection, key, draft.version, Publication(since, since, "key:test"))
    return published.version
