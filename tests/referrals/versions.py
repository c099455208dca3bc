"""Publishes versions of the referral program in tests."""

import json
from datetime import datetime
from typing import Any

from shared.postgres.pool import Pool
from shared.programs.kind import dump
from tests.referrals.programs import DEFAULT, parse
from tests.referrals.shop import at

PUBLISH_SQL = """
INSERT INTO document_version (kind, id, version, document, created_at, published_at, effective_at)
SELECT 'referral_program', '', max(version) + 1, $1::json, $2, $2, $2
FROM document_version
WHERE kind = 'referral_program'
"""


async def publish(pool: Pool, effective_at: datetime | None = None, **changes: Any) -> None:
    """Publish the default program with changes, in force since long ago (after the versions before it)."""
    document = dump(parse({**DEFAULT, **changes}))
    await pool.execute(PUBLISH_SQL, json.loads(json.dumps(document)), effective_at or at(-100_000))
