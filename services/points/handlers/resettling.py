"""The job that settles the rest of timelines that change more than one transaction settles."""

from datetime import datetime
from typing import Final

from services.points.handlers.opening import open_batch
from services.points.rules.books.fold import fold
from services.points.store import loading, rejudging, rules
from services.points.store.loading import Wanted
from shared.postgres.pool import Connection, Pool

_CUSTOMERS: Final = 10
"""Customers that are read at once; each is settled in a transaction of its own."""


async def resettle(pool: Pool, now: datetime) -> None:
    """Settle everything that timelines changed and no event's transaction has settled."""
    while True:
        async with pool.acquire() as connection:
            customers = await rejudging.next_customers(connection, _CUSTOMERS)
            for customer in customers:
                async with connection.transaction():
                    await _go_on(connection, customer, now)
        if not customers:
            return


async def _go_on(connection: Connection, customer: str, now: datetime) -> None:
    state = await loading.load(connection, Wanted(customers={customer}), now)
    book = await rules.book_at(connection, [now], state.rules_versions)
    async with open_batch(connection, state, book, now) as books:
        fold(books, ())
