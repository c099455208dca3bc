"""Verifies the stored state against itself."""

from collections.abc import AsyncIterator

from services.referrals.store import auditing, programs
from shared.postgres import checks
from shared.postgres.checks import Check
from shared.postgres.pool import Pool


async def verify(pool: Pool, _sample: int) -> AsyncIterator[Check]:
    """Check the database in one snapshot."""
    async with checks.snapshot(pool) as connection:
        versions = [program for _, program in await programs.load_published(connection)]
        async for check in checks.ask(connection, auditing.queries(versions)):
            yield check
