"""The versions of the tier program that customers are judged by."""

from collections.abc import Collection
from datetime import datetime

from services.tiers.rules.program.compiled import Program
from services.tiers.rules.program.kind import KIND
from services.tiers.rules.program.versions import Versions
from shared.postgres.pool import Connection
from shared.programs import in_force


async def load_program(connection: Connection, moment: datetime) -> Program:
    """The version in force at an instant."""
    return await in_force.version_at(connection, KIND, moment)


async def load_versions(
    connection: Connection, first: datetime, last: datetime, numbers: Collection[int] = ()
) -> Versions:
    """The versions that are in force at any instant from `first` to `last`, and some others by number."""
    return Versions(await in_force.book(connection, KIND, first, last, numbers))
