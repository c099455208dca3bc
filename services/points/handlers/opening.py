"""Opening the books for a batch: what the rules change of them is written and announced when they are closed."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime

from services.points.handlers.announcing import save_and_announce
from services.points.rules.books.books import Books
from services.points.rules.books.state import State
from services.points.rules.program.ruleset import RuleBook
from shared.postgres.ids import new_ids
from shared.postgres.pool import Connection


@asynccontextmanager
async def open_batch(connection: Connection, state: State, rules: RuleBook, now: datetime) -> AsyncGenerator[Books]:
    """The books of a loaded state; leaving the block writes and announces, unless it is left by an exception."""
    books = Books(state, rules, now, new_ids())
    yield books
    await save_and_announce(connection, books.state, books.changes)
