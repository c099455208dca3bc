"""The earning rules that events are judged by."""

from collections.abc import Collection
from datetime import datetime

from services.points.rules.program.earning_rules import EARNING_RULES
from services.points.rules.program.ruleset import RuleBook, RuleSet
from shared.postgres.pool import Connection
from shared.programs import in_force as programs


async def book(connection: Connection, first: datetime, last: datetime, versions: Collection[int] = ()) -> RuleBook:
    """The versions that are in force at any instant from `first` to `last`, and some others by number."""
    return await programs.book(connection, EARNING_RULES, first, last, versions)


async def book_at(connection: Connection, moments: Collection[datetime], versions: Collection[int] = ()) -> RuleBook:
    """The versions that are in force at some instants, and some others by number."""
    return await programs.book_at(connection, EARNING_RULES, moments, versions)


async def in_force(connection: Connection, moment: datetime) -> RuleSet:
    """The version in force at an instant."""
    return await programs.version_at(connection, EARNING_RULES, moment)
