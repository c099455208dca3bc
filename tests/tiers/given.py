"""Programs in the database of a test: versions published by writing them down."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from services.tiers.rules.program.kind import KIND
from shared.postgres.pool import Pool
from shared.programs.kind import dump
from tests.tiers import programs


async def publish(pool: Pool, *versions: tuple[datetime, Any]) -> None:
    """Publish documents from instants on, as the versions after those that are there."""
    last = await pool.fetchval("SELECT max(version) FROM document_version WHERE kind = $1", KIND.name)
    for number, (at, document) in enumerate(versions, last + 1):
        await _insert(pool, number, at, document)


async def replace_first(pool: Pool, document: Any) -> None:
    """Judge by a document since ever."""
    content = json.loads(json.dumps(dump(programs.parse(document))))
    await pool.execute("UPDATE document_version SET document = $2 WHERE kind = $1 AND version = 1", KIND.name, content)


async def _insert(pool: Pool, number: int, at: datetime, document: Any) -> None:
    columns: Sequence[str] = ("kind", "id", "version", "effective_at", "published_at", "created_at", "document")
    content = json.loads(json.dumps(dump(programs.parse(document))))
    async with pool.acquire() as connection:
        await connection.copy_records_to_table(
            "document_version", records=[(KIND.name, "", number, at, at, at, content)], columns=columns
        )
