"""The tier program in force."""

from datetime import datetime

from services.tiers.rules.program import Program, ProgramDocument
from shared.postgres.pool import Connection

IN_FORCE_SQL = """
SELECT version, document
FROM tier_program
WHERE state = 'published' AND effective_at <= $1
ORDER BY effective_at DESC, version DESC
LIMIT 1
"""


async def load_program(connection: Connection, moment: datetime) -> Program:
    """The version in force at an instant."""
    row = await connection.fetchrow(IN_FORCE_SQL, moment)
    assert row is not None, "version 1 has always been in force"
    return Program.of(row["version"], ProgramDocument.model_validate(row["document"]))
