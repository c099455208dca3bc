"""The versions of the referral program."""

from services.referrals.rules.program import Program, ProgramDocument
from shared.postgres.pool import Connection

LOAD_PUBLISHED_SQL = """
SELECT version, effective_at, document FROM referral_program WHERE state = 'published' ORDER BY version
"""


async def load_published(connection: Connection) -> tuple[Program, ...]:
    """Every published version."""
    return tuple(
        Program(row["version"], row["effective_at"], ProgramDocument.model_validate(row["document"]))
        for row in await connection.fetch(LOAD_PUBLISHED_SQL)
    )
