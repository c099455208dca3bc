"""The versions of the referral program."""

from datetime import UTC, datetime

from services.referrals.rules.program.compiled import Program
from services.referrals.rules.program.kind import KIND
from shared.postgres.pool import Connection
from shared.programs import in_force
from shared.programs.kind import Book


async def load_program(connection: Connection, moment: datetime) -> Program:
    """The version in force at an instant."""
    return await in_force.version_at(connection, KIND, moment)


async def load_published(connection: Connection) -> Book[Program]:
    """Every published version."""
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    return await in_force.book(connection, KIND, first, last)
